/** The strip under the waveform: time ruler, speech probability, thresholds, the playhead. Draws what is in view only. */

import type { Chunk, Segment } from './api';
import type { Picture } from './picture';
import { colour } from './theme';
import { tickLabel } from './time';

const RULER = 18;
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5];
const LABEL_WIDTH = 76;

export interface Stretch {
  startMs: number;
  endMs: number;
}

export class CurveCanvas {
  private pending = 0;
  private stretch: Stretch = { startMs: 0, endMs: 1 };
  thresholds: number[] = [];
  segments: readonly Segment[] = [];
  chunks: readonly Chunk[] = [];
  playheadMs = 0;

  constructor(
    readonly canvas: HTMLCanvasElement,
    /** Null where a probability is not to be had. */
    public picture: Picture | null,
  ) {}

  show(stretch: Stretch): void {
    this.stretch = stretch;
    this.redraw();
  }

  redraw(): void {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const context = canvas.getContext('2d');
    if (!context || width === 0) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.drawRuler(context, width, height);
    this.drawSegments(context, width, height);
    this.drawProbability(context, width, height);
    this.drawThresholds(context, width, height);
    this.drawChunks(context, width);
    const x = this.xOf(this.playheadMs, width);
    context.fillStyle = colour('cursor');
    context.fillRect(x - 0.75, 0, 1.5, height);
  }

  private xOf(ms: number, width: number): number {
    return ((ms - this.stretch.startMs) / (this.stretch.endMs - this.stretch.startMs)) * width;
  }

  private drawRuler(context: CanvasRenderingContext2D, width: number, height: number): void {
    const { startMs, endMs } = this.stretch;
    const perPixel = (endMs - startMs) / width;
    const step = STEPS_MS.find((candidate) => candidate >= perPixel * LABEL_WIDTH) ?? 36e5;
    context.font = `11px ${colour('font-numbers')}`;
    context.textBaseline = 'middle';
    context.fillStyle = colour('muted');
    context.strokeStyle = colour('line');
    context.lineWidth = 1;
    for (let at = Math.ceil(startMs / step) * step; at <= endMs; at += step) {
      const x = Math.round(this.xOf(at, width)) + 0.5;
      line(context, x, 0, x, height);
      const label = tickLabel(at, step);
      if (x + 4 + context.measureText(label).width < width) context.fillText(label, x + 4, RULER / 2);
    }
  }

  private drawSegments(context: CanvasRenderingContext2D, width: number, height: number): void {
    drawSegments(context, this.segments, this.stretch, { x: 0, y: RULER, width, height: height - RULER });
  }

  /** A bracket over what is one chunk. */
  private drawChunks(context: CanvasRenderingContext2D, width: number): void {
    context.strokeStyle = colour('threshold');
    context.lineWidth = 2;
    for (const chunk of this.chunks) {
      // A pixel apart, so that chunks that touch are told from each other.
      const [from, to] = [this.xOf(chunk.start_ms, width) + 1, this.xOf(chunk.end_ms, width) - 1];
      if (to < 0 || from > width) continue;
      context.beginPath();
      context.moveTo(from, RULER + 7);
      context.lineTo(from, RULER + 1);
      context.lineTo(Math.max(from, to), RULER + 1);
      context.lineTo(Math.max(from, to), RULER + 7);
      context.stroke();
    }
  }

  private drawProbability(context: CanvasRenderingContext2D, width: number, height: number): void {
    if (!this.picture) return;
    const { probabilities, frameMs } = this.picture;
    const perPixel = (this.stretch.endMs - this.stretch.startMs) / width / frameMs;
    const first = this.stretch.startMs / frameMs;
    context.beginPath();
    context.moveTo(0, height);
    for (let x = 0; x <= width; x += 1) {
      const from = Math.max(0, Math.floor(first + x * perPixel));
      const to = Math.min(probabilities.length, Math.max(from + 1, Math.floor(first + (x + 1) * perPixel)));
      let sum = 0;
      for (let frame = from; frame < to; frame += 1) sum += probabilities[frame] ?? 0;
      context.lineTo(x, levelY(to > from ? sum / (to - from) : 0, height));
    }
    context.lineTo(width, height);
    context.closePath();
    context.fillStyle = colour('curve-fill');
    context.fill();
    context.strokeStyle = colour('curve');
    context.lineWidth = 1.25;
    context.stroke();
  }

  private drawThresholds(context: CanvasRenderingContext2D, width: number, height: number): void {
    context.lineWidth = 1.25;
    context.textBaseline = 'middle';
    for (const value of this.thresholds) {
      const y = Math.round(levelY(value, height)) + 0.5;
      context.strokeStyle = colour('threshold');
      context.setLineDash([5, 4]);
      line(context, 0, y, width, y);
      context.setLineDash([]);
      const label = value.toFixed(3).replace(/0{1,2}$/, '');
      const wide = context.measureText(label).width + 8;
      context.fillStyle = colour('card');
      context.fillRect(width - wide - 2, y - 8, wide, 16);
      context.fillStyle = colour('threshold');
      context.fillText(label, width - wide + 2, y + 0.5);
    }
  }
}

/** Shades what of the segments lies in a stretch. */
export function drawSegments(
  context: CanvasRenderingContext2D,
  segments: readonly Segment[],
  { startMs, endMs }: Stretch,
  box: { x: number; y: number; width: number; height: number },
): void {
  const scale = box.width / (endMs - startMs);
  context.fillStyle = colour('region');
  for (const segment of segments) {
    if (segment.end_ms < startMs || segment.start_ms > endMs) continue;
    context.fillRect(box.x + (segment.start_ms - startMs) * scale, box.y, Math.max(0.5, segment.duration_ms * scale), box.height);
  }
}

function levelY(value: number, height: number): number {
  return height - 1 - value * (height - RULER - 3);
}

function line(context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
