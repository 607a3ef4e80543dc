/** What the keyboard does on a card. */

import type { View } from './view';

const STEP_MS = 1000;
const FINE_STEP_MS = 10;

/** Carries out what the key means; `step` goes to the next (1) or previous (-1) segment. */
export function pressed(event: KeyboardEvent, view: View, step: (by: number) => void): void {
  const target = event.composedPath()[0];
  if (event.ctrlKey || event.metaKey || event.altKey || wantsKeys(target, event.key)) return;
  const stepMs = event.shiftKey ? FINE_STEP_MS : STEP_MS;
  const actions: Record<string, () => void> = {
    ' ': () => view.playPause(),
    ArrowLeft: () => view.seek(view.timeMs - stepMs),
    ArrowRight: () => view.seek(view.timeMs + stepMs),
    Home: () => view.seek(0),
    End: () => view.seek(Infinity),
    '+': () => view.zoomBy(2),
    '=': () => view.zoomBy(2),
    '-': () => view.zoomBy(0.5),
    '0': () => view.fit(),
    '[': () => step(-1),
    ']': () => step(1),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  event.stopPropagation();
  action();
}

/** Whether the element makes something of the key itself. */
function wantsKeys(target: EventTarget | undefined, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLButtonElement || target instanceof HTMLAnchorElement) return key === ' ' || key === 'Enter';
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target.classList.contains('rows');
}
