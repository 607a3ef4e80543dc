/**
 * What the timeline looks like, drawn on canvases in CSS pixels.
 *
 * The ground (ruler, waveform or spectrogram, curve) changes when the view moves; what lies over it (segments, chunks,
 * playhead) changes with every frame of playing or dragging, and costs only what is in sight.
 */

import type { Palette } from '../settings/theme';
import type { Threshold } from '../settings/thresholds';
import type { Extent } from './intervals';
import type { Levels } from './levels';
import type { Picture } from './picture';
import { tickLabel } from './time';
import { msOf, tickStep, type Viewport, xOf } from './viewport';

/** The loudest place fills the height, but a room in which nothing is said is not blown up to look like sound: -40 dB. */
const LEAST_PEAK = 0.01;
const LABEL_WIDTH = 76;

/** Where the parts of the timeline lie, from above. */
export interface Rows {
  readonly ruler: number;
  readonly wave: { top: number; height: number };
  readonly lanes: { top: number; each: number };
  readonly curves: { top: number; each: number };
  readonly height: number;
}

export interface Lane {
  readonly key: string;
  readonly name: string;
  readonly colour: string;
  readonly extents: readonly Extent[];
}

/** A curve of speech probability with the thresholds that cut it. */
export interface Strip {
  readonly key: string;
  readonly name: string;
  readonly picture: Picture;
  readonly probabilities: Levels;
  readonly thresholds: readonly Threshold[];
}

export function rowsOf(lanes: number, curves: number, low: boolean): Rows {
  const [ruler, wave, each] = [18, low ? 56 : 92, low ? 14 : 18];
  const curve = curves < 2 ? (low ? 44 : 76) : curves < 5 ? (low ? 34 : 54) : 26;
  const lanesTop = ruler + wave;
  const curvesTop = lanesTop + lanes * each;
  return {
    ruler,
    wave: { top: ruler, height: wave },
    lanes: { top: lanesTop, each },
    curves: { top: curvesTop, each: curve },
    height: curvesTop + curves * curve,
  };
}

/** Of the strip that counts so many from above. */
export function topOf({ curves }: Rows, place: number): number {
  return curves.top + place * curves.each;
}

export function yOf(probability: number, rows: Rows, place: number): number {
  return topOf(rows, place) + rows.curves.each - 1 - probability * (rows.curves.each - 3);
}

/** Speech probability at a height of the strip, 0 to 1. */
export function probabilityAt(y: number, rows: Rows, place: number): number {
  return Math.max(0, Math.min(1, (topOf(rows, place) + rows.curves.each - 1 - y) / (rows.curves.each - 3)));
}

/** Fits the canvas to its box and the screen's pixels; null where it has none. */
export function prepared(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = width > 0 ? canvas.getContext('2d') : null;
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}

export function paintRuler(context: CanvasRenderingContext2D, view: Viewport, rows: Rows, palette: Palette): void {
  const step = tickStep(view, LABEL_WIDTH);
  context.font = `11px ${palette['font-numbers']}`;
  context.textBaseline = 'middle';
  context.fillStyle = palette.muted;
  for (let at = Math.ceil(view.startMs / step) * step; at <= view.endMs; at += step) {
    const x = Math.round(xOf(view, at));
    context.globalAlpha = 0.35;
    context.fillRect(x, 0, 1, rows.height);
    context.globalAlpha = 1;
    const label = tickLabel(at, step);
    if (x + 4 + context.measureText(label).width < view.width) context.fillText(label, x + 4, rows.ruler / 2);
  }
}

/** For each pixel the highest amplitude, both ways from the middle; what has been played in a darker tone. */
export function paintWave(
  context: CanvasRenderingContext2D,
  view: Viewport,
  rows: Rows,
  picture: Picture,
  loudest: number,
  colour: string,
): void {
  const { top, height } = rows.wave;
  const middle = top + height / 2;
  const scale = (height / 2 - 2) / Math.max(LEAST_PEAK, loudest);
  context.fillStyle = colour;
  const wide = picture.frameMs > msOf(view, 1);
  for (let x = 0; x < view.width; x += 1) {
    const [from, to] = framesAt(view, x, picture);
    // Between the middles of frames that are wider than a pixel the outline runs straight: blocks are not what was recorded.
    const peak = wide
      ? between(picture.peaks.values, (view.startMs + msOf(view, x + 0.5)) / picture.frameMs - 0.5)
      : picture.peaks.most(from, to);
    // A line is left where nothing is heard.
    const reach = Math.max(0.5, peak * scale);
    if (to > from) context.fillRect(x, middle - reach, 1, 2 * reach);
  }
}

function between(values: Float32Array, at: number): number {
  const first = Math.max(0, Math.floor(at));
  const [one, other] = [values[first] ?? 0, values[Math.min(values.length - 1, first + 1)] ?? 0];
  return one + (other - one) * Math.max(0, at - first);
}

/**
 * Column by column, each from the height before to its own: a stroke along a thousand points takes a processor longer to
 * draw than a frame lasts, and zooming draws one with every frame.
 */
export function paintCurve(
  context: CanvasRenderingContext2D,
  view: Viewport,
  rows: Rows,
  strip: Strip,
  place: number,
  palette: Palette,
): void {
  const bottom = topOf(rows, place) + rows.curves.each;
  const heights = Array.from({ length: Math.ceil(view.width) }, (_, x) =>
    yOf(strip.probabilities.mean(...framesAt(view, x, strip.picture)), rows, place),
  );
  context.fillStyle = palette['curve-fill'];
  heights.forEach((y, x) => {
    context.fillRect(x, y, 1, bottom - y);
  });
  context.fillStyle = palette.curve;
  heights.forEach((y, x) => {
    const before = heights[x - 1] ?? y;
    const top = Math.min(y, before) - CURVE_WIDTH / 2;
    context.fillRect(x, top, 1, Math.abs(y - before) + CURVE_WIDTH);
  });
}

const CURVE_WIDTH = 1.25;

/** A dashed line at each height; its label has the number that the option has, and the height where that is another. */
export function paintThresholds(
  context: CanvasRenderingContext2D,
  view: Viewport,
  rows: Rows,
  thresholds: readonly Threshold[],
  place: number,
  label: (threshold: Threshold) => string,
  palette: Palette,
): void {
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  let above = Number.NEGATIVE_INFINITY;
  const lineOf = ({ height }: Threshold): number => Math.round(yOf(height, rows, place)) + 0.5;
  context.strokeStyle = palette.threshold;
  context.lineWidth = 1.25;
  context.setLineDash([5, 4]);
  for (const threshold of thresholds) line(context, 0, lineOf(threshold), view.width, lineOf(threshold));
  context.setLineDash([]);
  // Over all lines, so that none strikes a label out.
  for (const threshold of [...thresholds].sort((one, other) => other.height - one.height)) {
    const y = lineOf(threshold);
    // Labels of heights that are close to each other stand one below the other.
    const labelY = Math.max(y, above + 15, topOf(rows, place) + 8);
    if (labelY + 7 > topOf(rows, place) + rows.curves.each) continue;
    above = labelY;
    const text = label(threshold);
    const wide = context.measureText(text).width + 8;
    context.fillStyle = palette.card;
    context.fillRect(view.width - wide - 2, labelY - 7, wide, 14);
    context.fillStyle = palette.threshold;
    context.fillText(text, view.width - wide + 2, labelY + 0.5);
  }
}

/** Fewer pixels than this for each extent in sight, and single ones cannot be told apart any more. */
const DENSE_PIXELS = 2;
/** Shades of density. */
const SHADES = 8;

/** Shades what of the extents is in sight; `edges` marks where each begins and ends, where there is room for that. */
export function paintExtents(
  context: CanvasRenderingContext2D,
  view: Viewport,
  extents: readonly Extent[],
  top: number,
  height: number,
  edges: string | null,
): void {
  const first = firstEndingAfter(extents, view.startMs);
  let last = first;
  while (last < extents.length && (extents[last] as Extent).start_ms <= view.endMs) last += 1;
  if ((last - first) * DENSE_PIXELS > view.width) {
    paintDensity(context, view, extents.slice(first, last), top, height);
    return;
  }
  const fill = context.fillStyle;
  for (let at = first; at < last; at += 1) {
    const { start_ms, end_ms } = extents[at] as Extent;
    const [left, right] = [xOf(view, start_ms), xOf(view, end_ms)];
    context.fillRect(left, top, Math.max(0.75, right - left), height);
    if (edges === null || right - left < 4) continue;
    context.fillStyle = edges;
    context.fillRect(left, top, 1, height);
    context.fillRect(right - 1, top, 1, height);
    context.fillStyle = fill;
  }
}

/** Of each column of pixels, how much is covered: thousands of slivers would take longer to draw than a frame lasts. */
function paintDensity(context: CanvasRenderingContext2D, view: Viewport, extents: readonly Extent[], top: number, height: number): void {
  const covered = new Float32Array(Math.ceil(view.width) + 1);
  for (const { start_ms, end_ms } of extents) {
    const [left, right] = [Math.max(0, xOf(view, start_ms)), Math.min(view.width, xOf(view, end_ms))];
    for (let x = Math.floor(left); x < right; x += 1) covered[x] = (covered[x] ?? 0) + Math.min(x + 1, right) - Math.max(x, left);
  }
  const shadeAt = (x: number): number => Math.ceil(Math.min(1, covered[x] ?? 0) * SHADES);
  for (let from = 0, x = 1; x <= covered.length; x += 1) {
    if (x < covered.length && shadeAt(x) === shadeAt(from)) continue;
    context.globalAlpha = shadeAt(from) / SHADES;
    if (context.globalAlpha > 0) context.fillRect(from, top, x - from, height);
    from = x;
  }
  context.globalAlpha = 1;
}

/** Of extents sorted by start that do not overlap much: the first that can be in sight. */
function firstEndingAfter(extents: readonly Extent[], ms: number): number {
  let [low, high] = [0, extents.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((extents[middle] as Extent).end_ms < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function paintLanes(context: CanvasRenderingContext2D, view: Viewport, rows: Rows, lanes: readonly Lane[], palette: Palette): void {
  lanes.forEach((lane, place) => {
    const top = rows.lanes.top + place * rows.lanes.each;
    context.fillStyle = palette.line;
    context.fillRect(0, top, view.width, 1);
    context.fillStyle = lane.colour;
    paintExtents(context, view, lane.extents, top + 3, rows.lanes.each - 4, null);
    paintName(context, lane.name, top + 2, rows.lanes.each - 3, palette);
  });
}

/** At the left, over what is drawn there and hiding little of it; nothing where the name is empty. */
export function paintName(context: CanvasRenderingContext2D, name: string, top: number, height: number, palette: Palette): void {
  if (name === '') return;
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 4;
  context.strokeStyle = palette.card;
  context.strokeText(name, 6, top + height / 2 + 0.5);
  context.fillStyle = palette.ink;
  context.fillText(name, 6, top + height / 2 + 0.5);
}

/** What lies under the pointer: a hairline and, beside it, the moment and the probability there. */
export function paintReading(
  context: CanvasRenderingContext2D,
  view: Viewport,
  rows: Rows,
  x: number,
  text: string,
  palette: Palette,
): void {
  context.fillStyle = palette.muted;
  context.globalAlpha = 0.6;
  context.fillRect(Math.round(x), rows.ruler, 1, rows.height - rows.ruler);
  context.globalAlpha = 1;
  context.font = `11px ${palette['font-numbers']}`;
  context.textBaseline = 'middle';
  const wide = context.measureText(text).width + 8;
  const left = x + 6 + wide > view.width ? x - 6 - wide : x + 6;
  context.fillStyle = palette.card;
  context.fillRect(left, rows.ruler + 2, wide, 15);
  context.fillStyle = palette.ink;
  context.fillText(text, left + 4, rows.ruler + 10);
}

/** A bracket over what is one chunk. */
export function paintChunks(
  context: CanvasRenderingContext2D,
  view: Viewport,
  rows: Rows,
  chunks: readonly Extent[],
  colour: string,
): void {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  for (const { start_ms, end_ms } of chunks) {
    // A pixel apart, so that chunks that touch are told from each other.
    const [left, right] = [xOf(view, start_ms) + 1, xOf(view, end_ms) - 1];
    if (right < 0 || left > view.width) continue;
    context.beginPath();
    context.moveTo(left, rows.ruler + 7);
    context.lineTo(left, rows.ruler + 1);
    context.lineTo(Math.max(left, right), rows.ruler + 1);
    context.lineTo(Math.max(left, right), rows.ruler + 7);
    context.stroke();
  }
}

export function paintPlayhead(context: CanvasRenderingContext2D, view: Viewport, rows: Rows, ms: number, colour: string): void {
  context.fillStyle = colour;
  context.fillRect(xOf(view, ms) - 0.75, 0, 1.5, rows.height);
}

/** The frames behind a column of pixels, one at least. */
function framesAt(view: Viewport, x: number, { frameMs, peaks }: Picture): [number, number] {
  const first = (view.startMs + msOf(view, x)) / frameMs;
  const from = Math.max(0, Math.floor(first));
  return [from, Math.min(peaks.length, Math.max(from + 1, Math.floor(first + msOf(view, 1) / frameMs)))];
}

function line(context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
