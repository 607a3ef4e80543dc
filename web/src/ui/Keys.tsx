/** The keyboard: what each key does, and the list of them that `?` shows. */

import { signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { t } from '../text/i18n';
import type { TextKey } from '../text/texts';

const STEP_MS = 1000;
const FINE_STEP_MS = 10;

export const keysShown = signal(false);

interface Key {
  /** As it is written in the list; the first of `keys` unless told. */
  cap: string;
  keys: readonly string[];
  does: TextKey;
  run: (clip: Clip, event: KeyboardEvent) => void;
  /** Only while segments are being corrected. */
  editing?: boolean;
}

function stepMs({ shiftKey }: KeyboardEvent): number {
  return shiftKey ? FINE_STEP_MS : STEP_MS;
}

function toMark(act: (clip: Clip, id: number) => void): Key['run'] {
  return (clip) => {
    const id = clip.editing.selected.value;
    if (id !== null) act(clip, id);
  };
}

const KEYS: readonly Key[] = [
  { cap: 'Space', keys: [' '], does: 'keyPlay', run: (clip) => clip.player.playPause() },
  { cap: '←', keys: ['ArrowLeft'], does: 'keyBack', run: (clip, event) => clip.seek(clip.player.timeMs.value - stepMs(event)) },
  { cap: '→', keys: ['ArrowRight'], does: 'keyForward', run: (clip, event) => clip.seek(clip.player.timeMs.value + stepMs(event)) },
  { cap: 'Home', keys: ['Home'], does: 'keyHome', run: (clip) => clip.seek(0) },
  { cap: 'End', keys: ['End'], does: 'keyEnd', run: (clip) => clip.seek(Number.POSITIVE_INFINITY) },
  { cap: '[', keys: ['['], does: 'previous', run: (clip) => clip.step(-1) },
  { cap: ']', keys: [']'], does: 'next', run: (clip) => clip.step(1) },
  { cap: 'L', keys: ['l', 'L'], does: 'loop', run: ({ player }) => (player.loops.value = !player.loops.value) },
  { cap: '+', keys: ['+', '='], does: 'zoomIn', run: (clip) => clip.zoomBy(2) },
  { cap: '−', keys: ['-'], does: 'zoomOut', run: (clip) => clip.zoomBy(0.5) },
  { cap: '0', keys: ['0'], does: 'zoomFit', run: (clip) => clip.fit() },
  { cap: 'Z', keys: ['z', 'Z'], does: 'zoomSegment', run: (clip) => clip.zoomToCurrent() },
  { cap: 'N', keys: ['n', 'N'], does: 'markAdd', editing: true, run: (clip) => clip.editing.add(clip.player.timeMs.value) },
  {
    cap: 'X',
    keys: ['x', 'X'],
    does: 'markSplit',
    editing: true,
    run: toMark((clip, id) => clip.editing.split(id, clip.player.timeMs.value)),
  },
  { cap: 'M', keys: ['m', 'M'], does: 'markMerge', editing: true, run: toMark((clip, id) => clip.editing.merge(id)) },
  { cap: 'Delete', keys: ['Delete', 'Backspace'], does: 'markDelete', editing: true, run: toMark((clip, id) => clip.editing.remove(id)) },
  {
    cap: ',',
    keys: [','],
    does: 'markStart',
    editing: true,
    run: toMark((clip, id) => clip.editing.move(id, 'start', clip.player.timeMs.value)),
  },
  {
    cap: '.',
    keys: ['.'],
    does: 'markEnd',
    editing: true,
    run: toMark((clip, id) => clip.editing.move(id, 'end', clip.player.timeMs.value)),
  },
];

/** Carries out what a key means for a file. */
export function pressed(event: KeyboardEvent, clip: Clip): void {
  if (keysShown.value || wantsKeys(event.composedPath()[0], event.key)) return;
  if (withControl(event, clip)) {
    consume(event);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !clip.wave.value) return;
  const key = KEYS.find(({ keys, editing }) => keys.includes(event.key) && (!editing || clip.editing.active.value));
  if (!key) return;
  consume(event);
  key.run(clip, event);
}

function withControl(event: KeyboardEvent, { editing }: Clip): boolean {
  if (!(event.ctrlKey || event.metaKey) || !editing.active.value) return false;
  const key = event.key.toLowerCase();
  if (key === 'y' || (key === 'z' && event.shiftKey)) editing.redo();
  else if (key === 'z') editing.undo();
  else return false;
  return true;
}

function consume(event: Event): void {
  event.preventDefault();
  event.stopPropagation();
}

/** Whether the element makes something of the key itself. */
function wantsKeys(target: EventTarget | undefined, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches('button, a, summary')) return key === ' ' || key === 'Enter';
  if (target instanceof HTMLInputElement && (target.type === 'radio' || target.type === 'checkbox'))
    return key === ' ' || key.startsWith('Arrow');
  return target.matches('input, textarea, select');
}

/** `?` anywhere but in a field. */
export function pressedAnywhere(event: KeyboardEvent): void {
  if (event.key !== '?' || event.ctrlKey || event.metaKey || wantsKeys(event.composedPath()[0], event.key)) return;
  event.preventDefault();
  keysShown.value = !keysShown.value;
}

function hideKeys(): void {
  keysShown.value = false;
}

export function KeysDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = keysShown.value;
  useLayoutEffect(() => {
    if (shown) dialog.current?.showModal();
    else dialog.current?.close();
  }, [shown]);
  return (
    // Escape is told of at once, the closing a moment after it: by then another key may have opened the list again.
    <dialog ref={dialog} aria-label={t('keysTitle')} onCancel={hideKeys} onClose={() => !dialog.current?.open && hideKeys()}>
      <h2>{t('keysTitle')}</h2>
      <dl class="key-list">
        {KEYS.map(({ cap, does, editing }) => (
          <div key={cap}>
            <dt>
              <kbd>{cap}</kbd>
            </dt>
            <dd>
              {t(does)}
              {editing && <span class="hint"> · {t('whileEditing')}</span>}
            </dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>Ctrl Z</kbd>
          </dt>
          <dd>
            {t('undo')}
            <span class="hint"> · {t('whileEditing')}</span>
          </dd>
        </div>
        <div>
          <dt>
            <kbd>Ctrl Y</kbd>
          </dt>
          <dd>
            {t('redo')}
            <span class="hint"> · {t('whileEditing')}</span>
          </dd>
        </div>
        <div>
          <dt>
            <kbd>?</kbd>
          </dt>
          <dd>{t('keysTitle')}</dd>
        </div>
      </dl>
      <p class="hint">{t('keysPointer')}</p>
      <button type="button" class="primary" onClick={hideKeys}>
        {t('close')}
      </button>
    </dialog>
  );
}
