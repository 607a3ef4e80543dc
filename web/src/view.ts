/** Waveform with its speech regions, and the probability curve under it. */

import WaveSurfer from 'wavesurfer.js';
import RegionsPlugin, { type Region } from 'wavesurfer.js/dist/plugins/regions.esm.js';
import ZoomPlugin from 'wavesurfer.js/dist/plugins/zoom.esm.js';

import type { Chunk, Segment } from './api';
import { CurveCanvas, drawSegments, type Stretch } from './curve';
import { h } from './dom';
import { onLanguage, t } from './i18n';
import type { Picture } from './picture';
import { colour, onTheme } from './theme';
import { clock } from './time';

/** Pixels a second at the closest look: a millisecond is two pixels. */
const CLOSEST = 2000;
/** Browsers lay out nothing wider than about this. */
const WIDEST = 15_000_000;
const HEIGHT = 112;
/** The loudest place fills the height, but a room in which nothing is said is not blown up to look like sound: -40 dB. */
const LEAST_PEAK = 0.01;
/** More regions than this in view are a few pixels wide each: they are painted, not built of elements. */
const MOST_ELEMENTS = 250;

export interface ViewEvents {
  time(ms: number): void;
  playing(on: boolean): void;
  chosen(segment: Segment): void;
  moved(): void;
  unplayable(): void;
}

export class View {
  readonly element: HTMLElement;
  private readonly surfer: WaveSurfer;
  private readonly regions: InstanceType<typeof RegionsPlugin>;
  private readonly curve: CurveCanvas;
  private readonly backdrop = h('canvas', { class: 'backdrop', 'aria-hidden': 'true' });
  private readonly shown = new Map<string, Region>();
  private readonly undo: (() => void)[] = [];
  private unfollow: () => void = () => undefined;
  private segments: readonly Segment[] = [];
  private selected = -1;
  private ready = false;
  /** Where playback stands. */
  timeMs = 0;

  constructor(
    private picture: Picture,
    private readonly media: HTMLAudioElement,
    private readonly events: ViewEvents,
  ) {
    const wave = h('div', { class: 'wave' }, this.backdrop);
    const canvas = h('canvas', { class: 'curve', role: 'img', tLabel: 'curve', onclick: (event) => this.seekAt(event as MouseEvent) });
    this.element = h('div', { class: 'view' }, wave, canvas);
    this.curve = new CurveCanvas(canvas, picture);
    // What a browser thinks of a file's length differs from what was decoded; places are drawn by the latter.
    Object.defineProperty(media, 'duration', { configurable: true, get: () => picture.durationMs / 1000 });
    // The wheel scrolls the page; with Ctrl, or as a pinch, it zooms.
    wave.addEventListener('wheel', (event) => event.ctrlKey || event.metaKey || event.stopPropagation(), { capture: true, passive: true });
    this.regions = RegionsPlugin.create();
    this.surfer = WaveSurfer.create({
      container: wave,
      height: HEIGHT,
      media,
      peaks: [picture.peaks],
      duration: picture.durationMs / 1000,
      barHeight: 1 / Math.min(1, Math.max(LEAST_PEAK, picture.loudest)),
      cursorWidth: 2,
      dragToSeek: true,
      autoCenter: false,
      ...this.colours(),
      plugins: [this.regions, ZoomPlugin.create({ maxZoom: this.closest, exponentialZooming: true, iterations: 30 })],
    });
    this.listen();
  }

  private colours(): { waveColor: string; progressColor: string; cursorColor: string } {
    return { waveColor: colour('wave'), progressColor: colour('wave-played'), cursorColor: colour('cursor') };
  }

  private get closest(): number {
    return Math.min(CLOSEST, WIDEST / (this.picture.durationMs / 1000));
  }

  private listen(): void {
    const { surfer, events } = this;
    surfer.on('ready', () => {
      this.ready = true;
      this.prepareFocus();
      this.follow();
    });
    for (const name of ['scroll', 'zoom', 'resize', 'redrawcomplete'] as const) surfer.on(name, () => this.follow());
    // While nothing plays, time is where the last jump went: the player itself is late, and loses early jumps.
    surfer.on('timeupdate', (at) => !this.media.paused && this.moved(at));
    surfer.on('interaction', (at) => this.moved(at));
    this.media.addEventListener('pause', () => this.moved(this.surfer.getCurrentTime()));
    this.media.addEventListener('loadedmetadata', () => this.surfer.setTime(this.timeMs / 1000));
    surfer.on('play', () => events.playing(true));
    surfer.on('pause', () => events.playing(false));
    surfer.on('finish', () => events.playing(false));
    surfer.on('click', (share) => this.clickedAt(share * this.picture.durationMs));
    surfer.on('error', () => this.media.error && events.unplayable());
    this.regions.on('region-clicked', (region, event) => {
      event.stopPropagation();
      const segment = this.segments.find((one) => keyOf(one) === region.id);
      if (segment) events.chosen(segment);
    });
    this.unfollow = this.followFiner();
    this.undo.push(
      () => this.unfollow(),
      onTheme(() => {
        this.surfer.setOptions(this.colours());
        this.follow();
      }),
      onLanguage(() => this.scroller.setAttribute('aria-label', t('waveform'))),
    );
  }

  private followFiner(): () => void {
    return this.picture.onFiner(() => this.drawPeaks());
  }

  private drawPeaks(): void {
    this.surfer.setOptions({ peaks: [this.picture.peaks], duration: this.picture.durationMs / 1000 });
  }

  /** The same sound, as another model has heard it; null: how is not known. */
  show(picture: Picture | null): void {
    this.curve.picture = picture;
    this.curve.redraw();
    if (!picture || picture === this.picture) return;
    this.unfollow();
    this.picture = picture;
    this.unfollow = this.followFiner();
    this.drawPeaks();
    this.follow();
  }

  /** A click that met no region's element: between them, or on painted ones. */
  private clickedAt(ms: number): void {
    const segment = this.segments.find((one) => one.start_ms <= ms && ms < one.end_ms);
    if (segment) this.events.chosen(segment);
  }

  private get scroller(): HTMLElement {
    return this.surfer.getWrapper().parentElement as HTMLElement;
  }

  /** The part that scrolls takes the focus and is a slider over time. */
  private prepareFocus(): void {
    const { scroller } = this;
    scroller.tabIndex = 0;
    scroller.setAttribute('role', 'slider');
    scroller.setAttribute('aria-label', t('waveform'));
    scroller.setAttribute('aria-valuemin', '0');
    scroller.setAttribute('aria-valuemax', String(this.picture.durationMs));
    this.tell(this.timeMs);
  }

  private tell(ms: number): void {
    this.curve.playheadMs = ms;
    this.curve.redraw();
    if (this.ready) {
      this.scroller.setAttribute('aria-valuenow', String(Math.round(ms)));
      this.scroller.setAttribute('aria-valuetext', clock(ms));
    }
    this.events.time(ms);
  }

  /** What is in view. */
  get stretch(): Stretch {
    const perSecond = this.perSecond;
    const startMs = (this.surfer.getScroll() / perSecond) * 1000;
    return { startMs, endMs: Math.min(this.picture.durationMs, startMs + (this.surfer.getWidth() / perSecond) * 1000) };
  }

  private get perSecond(): number {
    return Math.max(1e-6, this.surfer.getWrapper().clientWidth / (this.picture.durationMs / 1000));
  }

  private follow(): void {
    if (!this.ready) return;
    const { stretch } = this;
    this.curve.show(stretch);
    this.placeRegions(stretch);
    const framesPerPixel = 1000 / this.perSecond / this.picture.frameMs;
    if (framesPerPixel < this.picture.coarseness) this.picture.refine(stretch.startMs, stretch.endMs);
    this.events.moved();
  }

  setSegments(segments: readonly Segment[], chunks: readonly Chunk[], thresholds: number[]): void {
    this.segments = segments;
    this.curve.segments = segments;
    this.curve.chunks = chunks;
    this.curve.thresholds = thresholds;
    this.curve.redraw();
    if (this.ready) this.placeRegions(this.stretch);
  }

  /** Marks one as selected, and brings it into view. */
  select(segment: Segment | null): void {
    this.selected = segment?.index ?? -1;
    for (const one of this.segments) this.paint(one);
    if (segment) this.reveal(segment.start_ms);
  }

  /** Only regions in view exist, and those just beside it: an hour may have thousands. */
  private placeRegions(stretch: Stretch): void {
    const margin = (stretch.endMs - stretch.startMs) / 4;
    const near = this.segments.filter((one) => one.end_ms >= stretch.startMs - margin && one.start_ms <= stretch.endMs + margin);
    const crowded = near.length > MOST_ELEMENTS;
    this.paintBackdrop(crowded ? near : [], stretch);
    const wanted = new Map(crowded ? [] : near.map((segment) => [keyOf(segment), segment]));
    for (const [key, region] of this.shown) {
      if (!wanted.has(key)) {
        region.remove();
        this.shown.delete(key);
      }
    }
    for (const [key, segment] of wanted) {
      if (!this.shown.has(key)) this.shown.set(key, this.addRegion(key, segment));
      this.paint(segment);
    }
  }

  private paintBackdrop(segments: readonly Segment[], stretch: Stretch): void {
    const { backdrop } = this;
    const context = backdrop.getContext('2d');
    if (!context) return;
    backdrop.width = this.surfer.getWidth();
    backdrop.height = 1;
    drawSegments(context, segments, stretch, { x: 0, y: 0, width: backdrop.width, height: 1 });
  }

  private addRegion(id: string, segment: Segment): Region {
    const color = this.colourOf(segment);
    return this.regions.addRegion({ id, start: segment.start_ms / 1000, end: segment.end_ms / 1000, drag: false, resize: false, color });
  }

  private colourOf(segment: Segment): string {
    return segment.index === this.selected ? 'var(--region-selected)' : 'var(--region)';
  }

  private paint(segment: Segment): void {
    const region = this.shown.get(keyOf(segment));
    const color = this.colourOf(segment);
    if (region && region.color !== color) region.setOptions({ color });
  }

  private seekAt(event: MouseEvent): void {
    const { startMs, endMs } = this.stretch;
    this.seek(startMs + (event.offsetX / this.curve.canvas.clientWidth) * (endMs - startMs));
  }

  private moved(seconds: number): void {
    this.timeMs = seconds * 1000;
    this.tell(this.timeMs);
  }

  seek(ms: number): void {
    const at = Math.max(0, Math.min(this.picture.durationMs, ms));
    this.timeMs = at;
    this.surfer.setTime(at / 1000);
    this.reveal(at);
    this.tell(at);
  }

  private reveal(ms: number): void {
    const { startMs, endMs } = this.stretch;
    if (ms < startMs || ms > endMs) this.scrollTo(ms - (endMs - startMs) / 4);
  }

  scrollTo(startMs: number): void {
    this.surfer.setScroll((Math.max(0, startMs) / 1000) * this.perSecond);
  }

  playPause(): void {
    void this.surfer.playPause().catch(() => this.events.unplayable());
  }

  playSegment(segment: Segment): void {
    void this.surfer.play(segment.start_ms / 1000, segment.end_ms / 1000).catch(() => this.events.unplayable());
  }

  /** Closer by `factor` around the playhead, or the middle where that is out of view. */
  zoomBy(factor: number): void {
    const { startMs, endMs } = this.stretch;
    const inView = this.timeMs >= startMs && this.timeMs <= endMs;
    const centre = inView ? this.timeMs : (startMs + endMs) / 2;
    const share = (centre - startMs) / (endMs - startMs);
    this.zoomTo(this.perSecond * factor);
    const span = (this.surfer.getWidth() / this.perSecond) * 1000;
    this.scrollTo(centre - share * span);
  }

  zoomTo(perSecond: number): void {
    const fit = this.surfer.getWidth() / (this.picture.durationMs / 1000);
    this.surfer.zoom(Math.min(this.closest, Math.max(fit, perSecond)));
  }

  fit(): void {
    this.zoomTo(0);
  }

  /** Shows what another view of the same file shows. */
  mirror(other: View): void {
    if (Math.abs(other.perSecond - this.perSecond) > 0.001 * this.perSecond) this.zoomTo(other.perSecond);
    if (Math.abs(other.stretch.startMs - this.stretch.startMs) * this.perSecond > 1000) this.scrollTo(other.stretch.startMs);
  }

  destroy(): void {
    for (const undo of this.undo) undo();
    this.surfer.destroy();
  }
}

function keyOf(segment: Segment): string {
  return `s${segment.start_ms}-${segment.end_ms}${segment.label ?? ''}`;
}
