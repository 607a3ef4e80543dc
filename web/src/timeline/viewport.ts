/** Which stretch of time is seen, and how wide: the arithmetic of zooming and scrolling. */

export interface Stretch {
  readonly startMs: number;
  readonly endMs: number;
}

export interface Viewport extends Stretch {
  readonly durationMs: number;
  /** CSS pixels. */
  readonly width: number;
}

/** Pixels a millisecond at the closest look. */
const CLOSEST = 2;
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5];

/** All of it. */
export function wholeView(durationMs: number, width: number): Viewport {
  return { durationMs, width, startMs: 0, endMs: Math.max(1, durationMs) };
}

export function spanOf({ startMs, endMs }: Stretch): number {
  return endMs - startMs;
}

export function xOf(view: Viewport, ms: number): number {
  return ((ms - view.startMs) / spanOf(view)) * view.width;
}

export function msAt(view: Viewport, x: number): number {
  const ms = view.startMs + (x / view.width) * spanOf(view);
  return Math.max(0, Math.min(view.durationMs, ms));
}

/** Milliseconds that a number of pixels stand for. */
export function msOf(view: Viewport, pixels: number): number {
  return (pixels / view.width) * spanOf(view);
}

/** A stretch of this length from here, moved and cut to what there is. */
function placed(view: Viewport, startMs: number, spanMs: number): Viewport {
  const most = Math.max(1, view.durationMs);
  const span = Math.min(most, Math.max(Math.min(most, view.width / CLOSEST), spanMs));
  const start = Math.max(0, Math.min(most - span, startMs));
  return { ...view, startMs: start, endMs: start + span };
}

/** Closer by `factor`; the moment `atMs` stays where it is. */
export function zoomed(view: Viewport, factor: number, atMs: number): Viewport {
  const share = (atMs - view.startMs) / spanOf(view);
  const least = Math.min(Math.max(1, view.durationMs), view.width / CLOSEST);
  const span = Math.min(Math.max(1, view.durationMs), Math.max(least, spanOf(view) / factor));
  return placed(view, atMs - share * span, span);
}

/** A stretch with a tenth of its length on either side. */
export function focused(view: Viewport, { startMs, endMs }: Stretch): Viewport {
  const margin = (endMs - startMs) / 10;
  const span = Math.max(endMs - startMs + 2 * margin, view.width / CLOSEST);
  return placed(view, (startMs + endMs) / 2 - span / 2, span);
}

export function scrolled(view: Viewport, startMs: number): Viewport {
  return placed(view, startMs, spanOf(view));
}

/** Of another width or length of sound, with the same stretch as far as that goes. */
export function resized(view: Viewport, width: number): Viewport {
  const wasWhole = spanOf(view) >= view.durationMs;
  return wasWhole ? wholeView(view.durationMs, width) : placed({ ...view, width }, view.startMs, spanOf(view));
}

/** With this moment in sight; a quarter from the left where it was not. */
export function revealed(view: Viewport, ms: number): Viewport {
  return ms < view.startMs || ms > view.endMs ? scrolled(view, ms - spanOf(view) / 4) : view;
}

export function isWhole(view: Viewport): boolean {
  return spanOf(view) >= view.durationMs;
}

/** Distance of the ruler's marks such that their labels have room. */
export function tickStep(view: Viewport, labelWidth: number): number {
  const needed = msOf(view, labelWidth);
  return STEPS_MS.find((step) => step >= needed) ?? Math.ceil(needed / 36e5) * 36e5;
}
