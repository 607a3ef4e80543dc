/** The last seconds of what the microphone hears, moving to the left. */

import { palette } from '../settings/theme';
import { clock } from '../timeline/time';

const WINDOW_MS = 20_000;
const CHUNK_MS = 100;

interface LiveExtent {
  readonly start_ms: number;
  /** Null while it goes on. */
  readonly end_ms: number | null;
}

export class LivePicture {
  private canvas: HTMLCanvasElement | null = null;
  private levels: number[] = [];
  private probabilities: { startMs: number; frameMs: number; values: readonly number[] }[] = [];
  private segments: readonly LiveExtent[] = [];
  private pending = 0;

  /** Draws there; the answer ends that. */
  attach(canvas: HTMLCanvasElement): () => void {
    this.canvas = canvas;
    this.redraw();
    return () => {
      this.canvas = null;
    };
  }

  reset(): void {
    this.levels = [];
    this.probabilities = [];
    this.segments = [];
    this.redraw();
  }

  get elapsedMs(): number {
    return this.levels.length * CHUNK_MS;
  }

  addLevel(pcm: Int16Array): void {
    let peak = 0;
    for (const sample of pcm) peak = Math.max(peak, Math.abs(sample));
    this.levels.push(peak / 32768);
    this.redraw();
  }

  addProbabilities(startMs: number, frameMs: number, values: readonly number[]): void {
    this.probabilities.push({ startMs, frameMs, values });
    const from = this.elapsedMs - 2 * WINDOW_MS;
    while ((this.probabilities[0]?.startMs ?? Number.POSITIVE_INFINITY) < from) this.probabilities.shift();
    this.redraw();
  }

  setSegments(segments: readonly LiveExtent[]): void {
    this.segments = segments;
    this.redraw();
  }

  private redraw(): void {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { canvas } = this;
    const context = canvas?.getContext('2d');
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas?.clientWidth ?? 0, canvas?.clientHeight ?? 0];
    if (!canvas || !context || width === 0) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.scale(ratio, ratio);
    const endMs = Math.max(WINDOW_MS, this.elapsedMs);
    const x = (ms: number): number => ((ms - endMs + WINDOW_MS) / WINDOW_MS) * width;
    this.drawTicks(context, endMs, x, height);
    this.drawSegments(context, x, height);
    this.drawLevels(context, x, height);
    this.drawProbabilities(context, x, height);
  }

  private drawTicks(context: CanvasRenderingContext2D, endMs: number, x: (ms: number) => number, height: number): void {
    context.fillStyle = palette.value.muted;
    context.font = `11px ${palette.value['font-numbers']}`;
    for (let at = Math.ceil((endMs - WINDOW_MS) / 5000) * 5000; at < endMs; at += 5000) {
      context.fillText(clock(at).slice(0, -4), x(at) + 4, 12);
      context.fillRect(x(at), 0, 0.5, height);
    }
  }

  private drawSegments(context: CanvasRenderingContext2D, x: (ms: number) => number, height: number): void {
    context.fillStyle = palette.value.region;
    for (const { start_ms, end_ms } of this.segments) {
      // Nothing is known of what has not been heard.
      const until = Math.min(end_ms ?? this.elapsedMs, this.elapsedMs);
      if (until > start_ms) context.fillRect(x(start_ms), 16, x(until) - x(start_ms), height - 16);
    }
  }

  private drawLevels(context: CanvasRenderingContext2D, x: (ms: number) => number, height: number): void {
    context.fillStyle = palette.value.wave;
    const [middle, reach] = [(height + 16) / 2, (height - 20) / 2];
    const bar = Math.max(1, x(CHUNK_MS) - x(0) - 1);
    this.levels.forEach((level, at) => {
      const left = x(at * CHUNK_MS);
      // A quiet room is still seen: loudness is heard by ratio, not by amplitude.
      const size = Math.max(0.5, Math.sqrt(level) * reach);
      if (left > -bar) context.fillRect(left, middle - size, bar, 2 * size);
    });
  }

  private drawProbabilities(context: CanvasRenderingContext2D, x: (ms: number) => number, height: number): void {
    context.strokeStyle = palette.value.curve;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const { startMs, frameMs, values } of this.probabilities) {
      for (const [at, value] of values.entries()) context.lineTo(x(startMs + at * frameMs), height - 2 - value * (height - 20));
    }
    context.stroke();
  }
}
