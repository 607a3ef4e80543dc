/** Waveform, lanes and curve: two canvases over each other, drawn when what they show changes, once a frame. */

import { computed, effect, signal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { spoken } from '../clip/clip';
import { printing } from '../settings/printing';
import { palette } from '../settings/theme';
import { language, t } from '../text/i18n';
import { optionName } from '../text/names';
import { lanesOf, stripsOf } from '../timeline/lanes';
import {
  type Lane,
  paintChunks,
  paintCurve,
  paintExtents,
  paintLanes,
  paintName,
  paintPlayhead,
  paintReading,
  paintRuler,
  paintThresholds,
  paintWave,
  prepared,
  rowsOf,
  type Strip,
  topOf,
} from '../timeline/paint';
import type { Picture } from '../timeline/picture';
import { Pointers } from '../timeline/pointer';
import { decoded, LONGEST_MS, spectrogram } from '../timeline/spectrogram';
import { clock } from '../timeline/time';
import { msAt, msOf } from '../timeline/viewport';

/** Windows lower than this get lower pictures, so that the settings below stay in sight too. */
const LOW_WINDOW = 720;

const low = signal(innerHeight < LOW_WINDOW);
addEventListener('resize', () => {
  low.value = innerHeight < LOW_WINDOW;
});

export function Timeline({ clip, wave }: { clip: Clip; wave: Picture }) {
  const box = useRef<HTMLDivElement>(null);
  const ground = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const scene = useMemo(() => new Scene(clip), [clip]);
  scene.wave.value = wave;
  useEffect(() => {
    const element = box.current;
    if (!element || !ground.current || !over.current) return;
    const observer = new ResizeObserver(() => clip.layOut(element.clientWidth));
    observer.observe(element);
    clip.layOut(element.clientWidth);
    // Passive listeners, which frameworks add, cannot keep the page from zooming.
    const wheel = (event: WheelEvent): void => scene.pointers.wheel(event);
    element.addEventListener('wheel', wheel, { passive: false });
    const stop = scene.draw(ground.current, over.current);
    return () => {
      stop();
      observer.disconnect();
      element.removeEventListener('wheel', wheel);
    };
  }, [clip]);
  const { pointers } = scene;
  const time = clip.player.timeMs.value;
  const rows = scene.rows.value;
  const shape = (event: PointerEvent): void => {
    if (event.buttons === 0) (event.currentTarget as HTMLElement).style.cursor = pointers.cursorAt(event);
    pointers.move(event);
  };
  return (
    <div
      ref={box}
      class="timeline"
      id={`timeline-${clip.number}`}
      role="slider"
      tabIndex={0}
      aria-label={t('waveform')}
      aria-valuemin={0}
      aria-valuemax={Math.round(clip.durationMs.value)}
      aria-valuenow={Math.round(time)}
      aria-valuetext={clock(time)}
      style={{ height: `${rows.height}px` }}
      onPointerDown={(event) => pointers.press(event)}
      onPointerMove={shape}
      onPointerUp={(event) => pointers.release(event)}
      onPointerCancel={(event) => pointers.cancel(event)}
      onPointerLeave={() => (pointers.under.value = null)}
    >
      <canvas
        ref={ground}
        class="ground"
        data-curves={scene.strips.value.map(({ key }) => key).join(' ')}
        data-thresholds={scene.strips.value.map(({ thresholds }) => thresholds.map(({ value }) => value).join('/')).join(' ')}
      />
      <canvas ref={over} class="over" data-lanes={scene.lanes.value.map(({ key }) => key).join(' ')} />
    </div>
  );
}

/** What one timeline shows, and when it has to be drawn anew. */
class Scene {
  readonly wave = signal<Picture | null>(null);
  readonly strips = computed<Strip[]>(() => stripsOf(this.clip));
  readonly lanes = computed<Lane[]>(() => lanesOf(this.clip, palette.value));
  /** By number: what lies in the lanes moves nothing else, and the ground is not drawn again for it. */
  private readonly laneCount = computed(() => this.lanes.value.length);
  private readonly curveCount = computed(() => this.strips.value.length);
  readonly rows = computed(() => rowsOf(this.laneCount.value, this.curveCount.value, low.value));
  readonly pointers: Pointers;
  private readonly samples = signal<Float32Array | null>(null);

  constructor(private readonly clip: Clip) {
    this.pointers = new Pointers(clip, () => ({ rows: this.rows.value, lanes: this.lanes.value, strips: this.strips.value }));
  }

  /** Keeps both canvases as they should be; the answer ends that. */
  draw(ground: HTMLCanvasElement, over: HTMLCanvasElement): () => void {
    const stops = [
      onceAFrame(() => this.drawGround(ground)),
      onceAFrame(() => this.drawOver(over)),
      effect(() => {
        if (this.clip.spectrogram.value && !this.samples.peek()) void this.decode();
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  private async decode(): Promise<void> {
    const { clip } = this;
    if (clip.durationMs.peek() > LONGEST_MS) return this.giveUpSpectrogram('too long');
    try {
      this.samples.value = await decoded(clip.file);
    } catch {
      this.giveUpSpectrogram('unreadable');
    }
  }

  private giveUpSpectrogram(why: 'too long' | 'unreadable'): void {
    this.clip.spectrogram.value = false;
    this.clip.noSpectrogram.value = why;
  }

  private drawGround(canvas: HTMLCanvasElement): void {
    const [view, rows, colours, wave, strips] = [this.clip.view.value, this.rows.value, palette.value, this.wave.value, this.strips.value];
    const context = prepared(canvas, view.width, rows.height);
    if (!context || !wave) return;
    for (const picture of new Set([wave, ...strips.map((strip) => strip.picture)])) {
      void picture.edition.value;
      picture.refine(view.startMs, view.endMs, msOf(view, 1));
    }
    const samples = this.clip.spectrogram.value ? this.samples.value : null;
    if (samples) {
      const image = spectrogram(samples, view, rows.wave.height);
      const ratio = window.devicePixelRatio || 1;
      const sheet = new OffscreenCanvas(image.width, image.height);
      sheet.getContext('2d')?.putImageData(image, 0, 0);
      context.drawImage(sheet, 0, rows.wave.top, Math.round(view.width * ratio) / ratio, rows.wave.height);
    } else {
      paintWave(context, view, rows, wave, wave.loudest.value, colours.wave);
    }
    paintRuler(context, view, rows, colours);
    strips.forEach((strip, place) => {
      paintCurve(context, view, rows, strip, place, colours);
      paintThresholds(context, view, rows, strip.thresholds, place, thresholdLabel, colours);
      paintName(context, strip.name, topOf(rows, place) + 2, 14, colours);
    });
    canvas.dataset.startMs = String(view.startMs);
    canvas.dataset.endMs = String(view.endMs);
  }

  private drawOver(canvas: HTMLCanvasElement): void {
    const { clip } = this;
    const [view, rows, colours, lanes] = [clip.view.value, this.rows.value, palette.value, this.lanes.value];
    const context = prepared(canvas, view.width, rows.height);
    if (!context) return;
    const [marks, answer, current] = [clip.editing.marks.value, clip.answer.value, clip.current.value];
    context.fillStyle = colours.region;
    paintExtents(context, view, marks ?? spoken(answer?.segments ?? []), rows.wave.top, rows.wave.height, colours['region-edge']);
    paintLanes(context, view, rows, lanes, colours);
    context.fillStyle = colours['region-selected'];
    const drawn = this.pointers.drawing.value;
    for (const extent of [current, drawn]) {
      if (extent) paintExtents(context, view, [extent], rows.wave.top, rows.wave.height, colours.cursor);
    }
    paintChunks(context, view, rows, clip.take.value.answer.value?.chunks ?? [], colours.threshold);
    paintPlayhead(context, view, rows, clip.player.timeMs.value, colours.cursor);
    const under = this.pointers.under.value;
    if (under) paintReading(context, view, rows, under.x, this.readingAt(under), colours);
  }

  /** The moment under the pointer, and over a curve the probability there. */
  private readingAt({ x, y }: { x: number; y: number }): string {
    const { view } = this.clip;
    const ms = msAt(view.value, x);
    const rows = this.rows.value;
    const strip = this.strips.value[Math.max(0, Math.floor((y - rows.curves.top) / rows.curves.each))];
    const probability = strip?.probabilities.values[Math.floor(ms / strip.picture.frameMs)];
    return probability === undefined ? clock(ms) : `${clock(ms)}  p ${probability.toFixed(2)}`;
  }
}

/** The option's own number, so that the line says what the slider says; its height too where that is another. */
function thresholdLabel({ option, value, height }: { option: string; value: number; height: number }): string {
  const known = optionName(option);
  const name = known ? known[language.value] : option;
  const plain = (number: number): string => String(Number(number.toFixed(3)));
  return plain(value) === plain(height) ? `${name} ${plain(value)}` : `${name} ${plain(value)} (p ${plain(height)})`;
}

/** Runs now, and again in the next frame after something that it has read has changed. */
function onceAFrame(run: () => void): () => void {
  let frame = 0;
  let stop = (): void => undefined;
  const track = (): void => {
    stop();
    let fresh = true;
    stop = effect(() => {
      if (fresh) run();
      // No frame comes before a page is printed.
      else if (printing.peek()) queueMicrotask(again);
      else frame ||= requestAnimationFrame(again);
      fresh = false;
    });
  };
  const again = (): void => {
    frame = 0;
    track();
  };
  track();
  return () => {
    cancelAnimationFrame(frame);
    stop();
  };
}
