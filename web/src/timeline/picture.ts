/** Amplitude and speech probability of a file, at frames where it has been looked at and coarser elsewhere. */

import { computed, signal } from '@preact/signals';
import { curveOf } from '../service/api';
import type { Curve } from '../service/types';
import { Levels } from './levels';

/** Four for each pixel of a wide screen. */
const OVERVIEW_POINTS = 8000;
/** The service's limit of points a call: 200 s of frames of 10 ms. */
const TILE_FRAMES = 20_000;

/** Speech probability by frame: of all channels together, or of one that was detected by itself. */
export interface ProbabilityCurve {
  readonly channel: number | null;
  readonly probabilities: Levels;
}

export class Picture {
  readonly peaks: Levels;
  readonly curves: readonly ProbabilityCurve[];
  /** Counts whenever finer data has come in: what draws reads it. */
  readonly edition = signal(0);
  private readonly tiles = new Map<number, Promise<void>>();

  private constructor(
    /** Of the kept analysis; another one after the file was sent again. */
    public id: string,
    readonly durationMs: number,
    readonly frameMs: number,
    /** Frames behind one point of the overview. */
    readonly coarseness: number,
    channels: readonly (number | null)[],
  ) {
    const frames = Math.max(1, Math.ceil(durationMs / frameMs));
    this.peaks = new Levels(frames);
    this.curves = channels.map((channel) => ({ channel, probabilities: new Levels(frames) }));
  }

  static async fetch(id: string): Promise<Picture> {
    const curve = await curveOf(id, OVERVIEW_POINTS);
    const frames = curve.duration_ms / curve.frame_ms;
    // A last frame that is not whole does not count.
    const coarseness = Math.max(1, Math.floor(frames) / Math.max(1, curve.peaks.length));
    const channels = curve.channels?.map(({ channel }) => channel) ?? [null];
    const picture = new Picture(id, curve.duration_ms, curve.frame_ms, coarseness, channels);
    picture.fill(0, picture.peaks.length, curve);
    return picture;
  }

  /** The highest amplitude. */
  readonly loudest = computed(() => {
    void this.edition.value;
    return this.peaks.most(0, this.peaks.length);
  });

  /** Fetches the frames of a stretch, where they are not here yet and would be seen: `pixelMs` is what a pixel stands for. */
  refine(startMs: number, endMs: number, pixelMs: number): void {
    if (this.coarseness <= 1 || this.coarseness * this.frameMs <= pixelMs) return;
    const last = Math.floor(Math.min(endMs, this.durationMs - 1) / this.frameMs / TILE_FRAMES);
    for (let tile = Math.floor(Math.max(0, startMs) / this.frameMs / TILE_FRAMES); tile <= last; tile += 1) {
      if (!this.tiles.has(tile)) this.tiles.set(tile, this.fetchTile(tile));
    }
  }

  private async fetchTile(tile: number): Promise<void> {
    const first = tile * TILE_FRAMES;
    const last = Math.min(first + TILE_FRAMES, this.peaks.length);
    try {
      const end = Math.min(last * this.frameMs, this.durationMs);
      const curve = await curveOf(this.id, TILE_FRAMES, first * this.frameMs, end);
      this.fill(first, last, curve);
      this.edition.value += 1;
    } catch {
      // The overview stays; the next look tries again.
      this.tiles.delete(tile);
    }
  }

  private fill(first: number, last: number, { peaks, probabilities, channels }: Curve): void {
    this.peaks.spread(peaks, first, last);
    this.curves.forEach((curve, place) => {
      curve.probabilities.spread(channels?.[place]?.probabilities ?? probabilities, first, last);
    });
  }
}
