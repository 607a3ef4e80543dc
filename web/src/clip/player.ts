/** Plays a file: as a whole, one segment, or a segment over and over. */

import { signal } from '@preact/signals';
import type { Extent } from '../timeline/intervals';

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2] as const;

/** The one that plays: there is one at a time. */
let sounding: Player | null = null;

export class Player {
  readonly media: HTMLVideoElement | HTMLAudioElement;
  readonly timeMs = signal(0);
  readonly playing = signal(false);
  readonly loops = signal(false);
  readonly speed = signal(1);
  /** The browser cannot play this kind of file. */
  readonly unplayable = signal(false);
  /** It plays, and nothing is heard: the machine has no sound output. */
  readonly soundless = signal(false);
  /** Where it ends, or begins anew. */
  private stretch: Extent | null = null;
  /** Where it was when the browser told of an error, s. */
  private failedAt = 0;
  private frame = 0;

  constructor(
    url: string,
    readonly isVideo: boolean,
    private readonly durationMs: () => number,
  ) {
    this.media = document.createElement(isVideo ? 'video' : 'audio');
    this.media.preload = 'metadata';
    this.media.src = url;
    this.media.addEventListener('play', () => this.started());
    // What plays can be played, whatever was tried before.
    this.media.addEventListener('playing', () => (this.unplayable.value = false));
    this.media.addEventListener('pause', () => this.stopped());
    this.media.addEventListener('ended', () => this.ended());
    this.media.addEventListener('error', () => this.fail());
    // Frames come in sight only; this comes always.
    this.media.addEventListener('timeupdate', () => {
      if (this.media.paused) return;
      this.goesOn();
      this.follow();
    });
  }

  /** Firefox calls it an error that there is no sound output, and plays on in silence. */
  private goesOn(): void {
    if (!this.unplayable.value || this.media.currentTime <= this.failedAt) return;
    this.unplayable.value = false;
    this.soundless.value = true;
    this.started();
  }

  private started(): void {
    if (sounding !== this) sounding?.pause();
    sounding = this;
    this.playing.value = true;
    const step = (): void => {
      this.follow();
      if (this.playing.value) this.frame = requestAnimationFrame(step);
    };
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(step);
  }

  private stopped(): void {
    this.playing.value = false;
    cancelAnimationFrame(this.frame);
  }

  private ended(): void {
    if (this.loops.value) void this.start(this.stretch?.start_ms ?? 0);
    else this.stopped();
  }

  private follow(): void {
    const at = this.media.currentTime * 1000;
    const { stretch } = this;
    if (!stretch || at < stretch.end_ms) {
      this.timeMs.value = at;
    } else if (this.loops.value) {
      this.place(stretch.start_ms);
    } else {
      this.media.pause();
      this.place(stretch.end_ms);
      this.stretch = null;
    }
  }

  private place(ms: number): void {
    this.timeMs.value = Math.max(0, Math.min(this.durationMs(), ms));
    this.media.currentTime = this.timeMs.value / 1000;
  }

  private fail(): void {
    this.failedAt = this.media.currentTime;
    this.unplayable.value = true;
    this.playing.value = false;
  }

  private async start(fromMs: number): Promise<void> {
    this.place(fromMs);
    try {
      await this.media.play();
    } catch (error) {
      // Another play that comes in between, or a browser that wants a click first, is no fault of the format.
      if ((error as Error).name === 'NotSupportedError') this.fail();
    }
  }

  playPause(): void {
    if (this.playing.value) {
      this.pause();
      return;
    }
    this.stretch = null;
    void this.start(this.timeMs.value >= this.durationMs() ? 0 : this.timeMs.value);
  }

  pause(): void {
    this.media.pause();
  }

  play(extent: Extent): void {
    this.stretch = extent;
    void this.start(extent.start_ms);
  }

  seek(ms: number): void {
    this.stretch = null;
    this.place(ms);
  }

  setSpeed(speed: number): void {
    this.speed.value = speed;
    this.media.playbackRate = speed;
  }

  close(): void {
    this.media.pause();
    if (sounding === this) sounding = null;
    this.media.removeAttribute('src');
    this.media.load();
  }
}
