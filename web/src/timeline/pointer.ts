/** What fingers and the mouse do on the timeline: seek, choose, pan, pinch, drag edges, draw new segments. */

import { signal } from '@preact/signals';
import type { Clip } from '../clip/clip';
import { spoken } from '../clip/clip';
import type { Edge, Mark } from '../edit/marks';
import type { Threshold } from '../settings/thresholds';
import type { Extent } from './intervals';
import { MARKS } from './lanes';
import { type Lane, probabilityAt, type Rows, type Strip, yOf } from './paint';
import { msAt, msOf, scrolled, xOf, zoomed } from './viewport';

/** Pixels around an edge in which it is taken hold of. */
const GRIP = { mouse: 5, touch: 14 } as const;
/** Pixels that a press may move and still be a click. */
const STILL = 4;

interface Place {
  readonly x: number;
  readonly y: number;
}

type Gesture =
  | { kind: 'press'; x: number; startMs: number; touch: boolean }
  | { kind: 'pan'; x: number; startMs: number }
  | { kind: 'edge'; id: number; edge: Edge }
  | { kind: 'threshold'; place: number; strip: Strip; threshold: Threshold }
  | { kind: 'draw'; fromMs: number; toMs: number }
  | { kind: 'pinch'; distance: number };

export interface Surface {
  readonly rows: Rows;
  readonly lanes: readonly Lane[];
  readonly strips: readonly Strip[];
}

/** Of one timeline; `surface` tells how it lies now. */
export class Pointers {
  private readonly down = new Map<number, Place>();
  private gesture: Gesture | null = null;
  /** What is drawn at present, but not yet made. */
  readonly drawing = signal<Extent | null>(null);
  /** Where the mouse is while no button is down. */
  readonly under = signal<Place | null>(null);

  constructor(
    private readonly clip: Clip,
    private readonly surface: () => Surface,
  ) {}

  press(event: PointerEvent): void {
    if (event.button !== 0) return;
    const place = placeOf(event);
    this.down.set(event.pointerId, place);
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    if (this.down.size === 2) this.gesture = { kind: 'pinch', distance: this.distance() };
    else this.gesture = this.begun(place, event.pointerType === 'touch');
  }

  private begun(place: Place, touch: boolean): Gesture {
    const view = this.clip.view.value;
    const edge = this.edgeAt(place, touch);
    if (edge) {
      this.clip.editing.selected.value = edge.mark.id;
      return { kind: 'edge', id: edge.mark.id, edge: edge.edge };
    }
    const threshold = this.thresholdAt(place, touch);
    if (threshold) return { kind: 'threshold', ...threshold };
    const ms = msAt(view, place.x);
    if (this.onMarks(place) && !this.markAt(ms)) return { kind: 'draw', fromMs: ms, toMs: ms };
    return { kind: 'press', x: place.x, startMs: view.startMs, touch };
  }

  move(event: PointerEvent): void {
    const place = placeOf(event);
    this.under.value = event.buttons === 0 && event.pointerType === 'mouse' ? place : null;
    if (!this.down.has(event.pointerId)) return;
    this.down.set(event.pointerId, place);
    const { gesture, clip } = this;
    const view = clip.view.value;
    if (gesture?.kind === 'edge') clip.editing.drag(gesture.id, gesture.edge, msAt(view, place.x));
    else if (gesture?.kind === 'threshold') this.moveThreshold(gesture, place);
    else if (gesture?.kind === 'draw') this.draw({ ...gesture, toMs: msAt(view, place.x) });
    else if (gesture?.kind === 'pinch') this.pinch(gesture);
    else if (gesture?.kind === 'press' && Math.abs(place.x - gesture.x) > STILL) this.gesture = { ...gesture, kind: 'pan' };
    if (this.gesture?.kind === 'pan') clip.view.value = scrolled(view, this.gesture.startMs - msOf(view, place.x - this.gesture.x));
  }

  /** The option follows in hundredths, as its slider does. */
  private moveThreshold({ place, strip, threshold }: Gesture & { kind: 'threshold' }, { y }: Place): void {
    const { rows } = this.surface();
    const value = Math.round(threshold.valueAt(probabilityAt(y, rows, place)) * 100) / 100;
    this.clip.setOption(strip.key.startsWith('b') ? 'b' : 'a', threshold.option, value);
  }

  /** The threshold that lies under the pointer. */
  private thresholdAt({ y }: Place, touch: boolean): { place: number; strip: Strip; threshold: Threshold } | null {
    const { rows, strips } = this.surface();
    const place = Math.floor((y - rows.curves.top) / rows.curves.each);
    const strip = strips[place];
    if (!strip) return null;
    const far = ({ height }: Threshold): number => Math.abs(yOf(height, rows, place) - y);
    const [threshold] = [...strip.thresholds].sort((one, other) => far(one) - far(other));
    return threshold && far(threshold) <= (touch ? GRIP.touch : GRIP.mouse) / 2 + 1 ? { place, strip, threshold } : null;
  }

  private draw(gesture: Gesture & { kind: 'draw' }): void {
    this.gesture = gesture;
    const { fromMs, toMs } = gesture;
    this.drawing.value = { start_ms: Math.min(fromMs, toMs), end_ms: Math.max(fromMs, toMs) };
  }

  private pinch(gesture: { distance: number }): void {
    const { view } = this.clip;
    const distance = this.distance();
    const [one, other] = [...this.down.values()];
    if (!one || !other || distance < 1) return;
    view.value = zoomed(view.value, distance / gesture.distance, msAt(view.value, (one.x + other.x) / 2));
    gesture.distance = distance;
  }

  private distance(): number {
    const [one, other] = [...this.down.values()];
    return one && other ? Math.max(1, Math.hypot(one.x - other.x, one.y - other.y)) : 1;
  }

  release(event: PointerEvent): void {
    const place = placeOf(event);
    const { gesture, clip } = this;
    this.down.delete(event.pointerId);
    this.gesture = this.drawing.value = null;
    if (gesture?.kind === 'edge') clip.editing.drop();
    else if (gesture?.kind === 'draw') this.drawn(gesture, place);
    else if (gesture?.kind === 'press') this.clicked(place);
  }

  /** What was begun comes to nothing. */
  cancel(event: PointerEvent): void {
    this.down.delete(event.pointerId);
    if (this.gesture?.kind === 'edge') this.clip.editing.drop();
    this.gesture = this.drawing.value = null;
  }

  private drawn({ fromMs, toMs }: { fromMs: number; toMs: number }, place: Place): void {
    if (Math.abs(xOf(this.clip.view.value, toMs) - xOf(this.clip.view.value, fromMs)) <= STILL) this.clicked(place);
    else this.clip.editing.add(Math.min(fromMs, toMs), Math.max(fromMs, toMs));
  }

  private clicked({ x, y }: Place): void {
    const { clip } = this;
    const ms = msAt(clip.view.value, x);
    const { rows } = this.surface();
    clip.seek(ms);
    if (clip.editing.active.value) {
      clip.editing.selected.value = this.markAt(ms)?.id ?? null;
      return;
    }
    const segments = clip.answer.value?.segments ?? [];
    const inCurve = y >= rows.curves.top || y < rows.ruler;
    const hit = inCurve ? undefined : spoken(segments).find(({ start_ms, end_ms }) => start_ms <= ms && ms < end_ms);
    if (hit) clip.play(hit);
  }

  /** The pointer's shape. */
  cursorAt(event: PointerEvent): string {
    const place = placeOf(event);
    if (this.edgeAt(place, false)) return 'ew-resize';
    if (this.thresholdAt(place, false)) return 'ns-resize';
    if (this.onMarks(place) && !this.markAt(msAt(this.clip.view.value, place.x))) return 'crosshair';
    return 'default';
  }

  private onMarks({ y }: Place): boolean {
    const { rows, lanes } = this.surface();
    const place = Math.floor((y - rows.lanes.top) / rows.lanes.each);
    return lanes[place]?.key === MARKS;
  }

  private markAt(ms: number): Mark | undefined {
    return this.clip.editing.marks.value?.find(({ start_ms, end_ms }) => start_ms <= ms && ms < end_ms);
  }

  /** Edges are taken hold of on the waveform and on the corrected ones' lane; those of the chosen one first. */
  private edgeAt({ x, y }: Place, touch: boolean): { mark: Mark; edge: Edge } | null {
    const { clip } = this;
    const { rows } = this.surface();
    const marks = clip.editing.marks.value;
    if (!marks || y < rows.ruler || y >= rows.curves.top) return null;
    const grip = touch ? GRIP.touch : GRIP.mouse;
    const chosen = clip.editing.selectedMark;
    // A finger that pans must not move what it happens to touch.
    const candidates = touch && !this.onMarks({ x, y }) ? [] : marks;
    let best: { mark: Mark; edge: Edge; distance: number } | null = null;
    for (const mark of chosen ? [chosen, ...candidates] : candidates) {
      for (const edge of ['start', 'end'] as const) {
        const distance = Math.abs(xOf(clip.view.value, edge === 'start' ? mark.start_ms : mark.end_ms) - x);
        if (distance <= grip && distance < (best?.distance ?? Number.POSITIVE_INFINITY)) best = { mark, edge, distance };
      }
    }
    return best;
  }

  /** Zooms with Ctrl or a pinch on a touchpad, scrolls sideways; else the page scrolls. */
  wheel(event: WheelEvent): void {
    const { view } = this.clip;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      view.value = zoomed(view.value, Math.exp(-event.deltaY / 200), msAt(view.value, placeOf(event).x));
      return;
    }
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (Math.abs(sideways) <= Math.abs(event.shiftKey ? 0 : event.deltaY)) return;
    event.preventDefault();
    view.value = scrolled(view.value, view.value.startMs + msOf(view.value, sideways));
  }
}

function placeOf(event: MouseEvent): Place {
  const box = (event.currentTarget as Element).getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}
