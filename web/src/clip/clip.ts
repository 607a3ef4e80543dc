/** A file on the page: its takes, its sound, its view, its corrections. */

import { computed, signal } from '@preact/signals';
import type { Detection, Segment } from '../service/types';
import { scaleOf } from '../settings/scale';
import { type Settings, schemasOf, withValue } from '../settings/settings';
import { shareSettings } from '../settings/shared';
import type { TextKey } from '../text/texts';
import { compare, type Extent, type Score, score } from '../timeline/intervals';
import { focused, isWhole, resized, revealed, type Viewport, wholeView, zoomed } from '../timeline/viewport';
import { Editing } from './editing';
import { Kept } from './kept';
import { Player } from './player';
import { Take } from './take';

export type ClipState = 'waiting' | 'working' | 'done' | 'failed' | 'cancelled';

let lastNumber = 0;

export class Clip {
  /** Of this page. */
  readonly number: number;
  readonly player: Player;
  readonly editing: Editing;
  readonly a: Take;
  /** What `a` is compared with. */
  readonly b = signal<Take | null>(null);
  /** Which of the two the settings are of. */
  readonly turning = signal<'a' | 'b'>('a');
  readonly view = signal<Viewport>(wholeView(1, 1));
  /** Index of the detector's segment that was chosen. */
  readonly chosen = signal<number | null>(null);
  readonly spectrogram = signal(false);
  /** Why there can be none. */
  readonly noSpectrogram = signal<'too long' | 'unreadable' | null>(null);
  private readonly url: string;
  private readonly kept = new Kept();

  constructor(
    readonly file: File,
    settings: Settings | null = null,
    /** Where it is from, if not from the person. */
    readonly origin: TextKey | null = null,
  ) {
    lastNumber += 1;
    this.number = lastNumber;
    this.url = URL.createObjectURL(file);
    this.a = new Take(file, this.kept, settings);
    const durationMs = (): number => this.durationMs.value;
    this.player = new Player(this.url, file.type.startsWith('video/'), durationMs);
    this.editing = new Editing(file, durationMs);
  }

  get name(): string {
    return this.file.name;
  }

  readonly durationMs = computed(() => this.a.answer.value?.audio.duration_ms ?? 0);
  /** The take whose settings, segments and figures are shown. */
  readonly take = computed(() => (this.turning.value === 'b' && this.b.value ? this.b.value : this.a));
  readonly answer = computed(() => this.take.value.answer.value);
  readonly wave = computed(() => this.take.value.outcome.value?.wave ?? null);
  /** Other models on the same file, for a look at all of them at once. */
  readonly others = signal<readonly Take[]>([]);

  readonly state = computed<ClipState>(() => {
    if (this.a.busy.value) return this.a.busy.value.key === 'waiting' ? 'waiting' : 'working';
    if (this.a.problem.value === 'cancelled') return 'cancelled';
    return this.a.problem.value && !this.a.answer.value ? 'failed' : this.a.answer.value ? 'done' : 'waiting';
  });

  readonly comparison = computed(() => {
    const [a, b] = [this.a.answer.value, this.b.value?.answer.value];
    return a && b ? compare(spoken(a.segments), spoken(b.segments), a.audio.duration_ms) : null;
  });

  readonly score = computed(() => this.scoreOf(this.answer.value));

  /** An answer measured by the corrected segments; null while there are none. */
  scoreOf(answer: Detection | null): Score | null {
    const marks = this.editing.marks.value;
    if (!marks || !answer) return null;
    // Only what is speech of the corrected ones, where labels are those of a detector that tells more than speech.
    const labels = new Set(answer.segments.map(({ label }) => label ?? null));
    const right = labels.size > 1 ? marks.filter(({ label }) => label === null || label === 'speech') : marks;
    return score(right, spoken(answer.segments));
  }

  /** Changes the settings that are shown; new files begin with those of the first take. */
  change(settings: Settings): void {
    const take = this.take.value;
    take.change(settings);
    const offer = take.offer.value;
    if (take === this.a && offer) shareSettings(settings, offer);
  }

  /** One option of one side, where the service says what it may be. */
  setOption(side: 'a' | 'b', name: string, value: number): void {
    if (this.b.value) this.turning.value = side;
    const { settings, offer } = this.take.value;
    const schema = settings.value && offer.value && schemasOf(settings.value, offer.value)[name];
    if (!settings.value || !offer.value || !schema) return;
    this.change(withValue(settings.value, name, scaleOf(schema).nearest(value), offer.value));
  }

  startComparison(): void {
    const other = new Take(this.file, this.kept);
    other.adopt(this.a);
    this.b.value = other;
    this.turning.value = 'b';
  }

  endComparison(): void {
    this.b.value?.giveUp();
    this.b.value = null;
    this.turning.value = 'a';
  }

  /** Every other model with its own defaults, of the sound that the settings say. */
  compareModels(): void {
    const { settings, offer } = this.a;
    const now = settings.value;
    if (!now || !offer.value) return;
    const names = offer.value.catalogue.models(false).map(({ name }) => name);
    this.others.value = names
      .filter((name) => name !== now.model)
      .map((model) => new Take(this.file, this.kept, { model, mode: null, given: {}, audio: now.audio, preset: null }));
    for (const take of this.others.value) take.analyse();
  }

  endModels(): void {
    for (const take of this.others.value) take.giveUp();
    this.others.value = [];
  }

  // ---- the view

  layOut(width: number): void {
    const view = this.view.peek();
    const durationMs = Math.max(1, this.durationMs.peek());
    if (view.durationMs !== durationMs) this.view.value = wholeView(durationMs, width);
    else if (view.width !== width) this.view.value = resized(view, width);
  }

  /** Closer by `factor` around the playhead, or the middle where that is out of sight. */
  zoomBy(factor: number): void {
    const view = this.view.value;
    const at = this.player.timeMs.value;
    const inSight = at >= view.startMs && at <= view.endMs;
    this.view.value = zoomed(view, factor, inSight ? at : (view.startMs + view.endMs) / 2);
  }

  fit(): void {
    this.view.value = wholeView(this.view.value.durationMs, this.view.value.width);
  }

  readonly isZoomed = computed(() => !isWhole(this.view.value));

  /** The stretch that was chosen, of the corrected ones where there are any. */
  readonly current = computed<Extent | null>(() => {
    if (this.editing.active.value) return this.editing.selectedMark;
    return this.answer.value?.segments.find(({ index }) => index === this.chosen.value) ?? null;
  });

  zoomToCurrent(): void {
    const extent = this.current.value;
    if (extent) this.view.value = focused(this.view.value, { startMs: extent.start_ms, endMs: extent.end_ms });
  }

  // ---- the sound

  seek(ms: number): void {
    this.player.seek(ms);
    this.view.value = revealed(this.view.value, this.player.timeMs.value);
  }

  play(segment: Segment): void {
    this.chosen.value = segment.index;
    this.player.play(segment);
    this.view.value = revealed(this.view.value, segment.start_ms);
  }

  /** To the next segment (1) or the one before (-1). */
  step(by: 1 | -1): void {
    const marks = this.editing.marks.value;
    const list: readonly Extent[] = marks ?? this.answer.value?.segments ?? [];
    const current = this.current.value;
    const at = current ? list.indexOf(current) : -1;
    const next = at < 0 ? nearest(list, this.player.timeMs.value, by) : list[at + by];
    if (!next) return;
    if (marks) this.editing.selected.value = (next as { id: number } & Extent).id;
    else this.chosen.value = (next as Segment).index;
    this.seek(next.start_ms);
  }

  close(): void {
    this.a.giveUp();
    this.endComparison();
    this.endModels();
    this.player.close();
    URL.revokeObjectURL(this.url);
  }
}

/** Speech alone, of a model that tells more. */
export function spoken(segments: readonly Segment[]): Segment[] {
  return segments.filter(({ label }) => label == null || label === 'speech');
}

function nearest(list: readonly Extent[], ms: number, by: 1 | -1): Extent | undefined {
  if (by > 0) return list.find(({ start_ms }) => start_ms >= ms) ?? list[0];
  return list.findLast(({ start_ms }) => start_ms < ms);
}
