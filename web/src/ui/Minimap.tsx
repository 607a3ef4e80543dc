/** The whole file in little, with a window on what is seen: a scrollbar that shows where to scroll. */

import { computed, effect, type ReadonlySignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { spoken } from '../clip/clip';
import { palette } from '../settings/theme';
import { t } from '../text/i18n';
import { paintExtents, paintWave, prepared, type Rows } from '../timeline/paint';
import type { Picture } from '../timeline/picture';
import { scrolled, spanOf, wholeView } from '../timeline/viewport';

const HEIGHT = 26;
const ROWS: Rows = {
  ruler: 0,
  wave: { top: 0, height: HEIGHT },
  lanes: { top: HEIGHT, each: 0 },
  curves: { top: HEIGHT, each: 0 },
  height: HEIGHT,
};

export function Minimap({ clip, picture }: { clip: Clip; picture: Picture }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const view = clip.view.value;
  const span = spanOf(view);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    // Where the view is moves the window alone, which is an element of its own.
    const width = computed(() => clip.view.value.width);
    return effect(() => paint(element, clip, picture, width));
  }, [clip, picture]);
  const middle = (event: PointerEvent): void => {
    if (event.buttons !== 1) return;
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * view.durationMs;
    clip.view.value = scrolled(view, at - span / 2);
  };
  const key = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = {
      ArrowLeft: -span / 10,
      ArrowRight: span / 10,
      PageUp: -span,
      PageDown: span,
      Home: -view.durationMs,
      End: view.durationMs,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    clip.view.value = scrolled(view, view.startMs + step);
  };
  return (
    <div
      class="minimap"
      role="scrollbar"
      tabIndex={0}
      aria-controls={`timeline-${clip.number}`}
      aria-orientation="horizontal"
      aria-label={t('minimap')}
      aria-valuemin={0}
      aria-valuemax={Math.round(view.durationMs - span)}
      aria-valuenow={Math.round(view.startMs)}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        middle(event);
      }}
      onPointerMove={middle}
      onKeyDown={key}
    >
      <canvas ref={canvas} />
      <span class="window" style={{ left: `${(view.startMs / view.durationMs) * 100}%`, width: `${(span / view.durationMs) * 100}%` }} />
    </div>
  );
}

function paint(canvas: HTMLCanvasElement, clip: Clip, picture: Picture, size: ReadonlySignal<number>): void {
  void picture.edition.value;
  const [width, durationMs] = [size.value, clip.durationMs.value];
  const context = prepared(canvas, width, HEIGHT);
  if (!context) return;
  const view = wholeView(durationMs, width);
  paintWave(context, view, ROWS, picture, picture.loudest.value, palette.value.wave);
  context.fillStyle = palette.value.region;
  paintExtents(context, view, clip.editing.marks.value ?? spoken(clip.answer.value?.segments ?? []), 0, HEIGHT, null);
}
