/** One file under one set of options. */

import { Problem, segmentsOf, type Detection, type Segment } from './api';
import { catalogue } from './catalogue';
import { h, icon } from './dom';
import { ExportPanel } from './exports';
import { setText } from './i18n';
import { pressed } from './keys';
import { Options } from './options';
import type { Picture } from './picture';
import { ProblemBox } from './problem';
import { megabytes, ProgressBar } from './progress';
import { SettingsPanel } from './settings';
import type { Source } from './source';
import { SummaryLine } from './summary';
import { SegmentTable } from './table';
import { thresholdsOf } from './thresholds';
import { clock } from './time';
import { Toolbar } from './toolbar';
import { View } from './view';
import { WarningList } from './warnings';

const COMPARE = 'M4 4h12v3H4zM4 10.5h16v3H4zM4 17h9v3H4z';
const REMOVE = 'M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6 10.6 12 5 6.4z';

export interface CardHost {
  /** Another card of the same file below this one. */
  compare(card: Card): void;
  removed(card: Card): void;
  /** The view of `card` has moved. */
  moved(card: Card): void;
  playing(card: Card): void;
}

export class Card {
  readonly element: HTMLElement;
  view: View | null = null;
  private readonly progress = new ProgressBar();
  private readonly problem = new ProblemBox();
  private readonly notice = new ProblemBox();
  private readonly notKept = new ProblemBox();
  private readonly meta = h('p', { class: 'meta' });
  private readonly madeBy = h('span', { class: 'made-by' });
  private readonly compare = h('button', { type: 'button', class: 'quiet compare', hidden: true, tLabel: 'compare', onclick: () => this.host.compare(this) });
  private readonly body = h('div', { class: 'card-body', hidden: true });
  private readonly warnings = new WarningList();
  private readonly summary = new SummaryLine();
  private readonly table: SegmentTable;
  private readonly toolbar: Toolbar;
  readonly media: HTMLAudioElement;
  private exports: ExportPanel | null = null;
  private settings: SettingsPanel | null = null;
  private answer: Detection | null = null;
  private current = -1;
  private asking = false;
  private askAgain = false;
  /** Whether the file has to go, whatever the service keeps of it. */
  private sendAgain = false;
  /** The model that the file is being sent to. */
  private sending: string | null = null;
  private cancel: (() => void) | null = null;

  /** `options`: those of the card that this one is compared with. */
  constructor(
    readonly source: Source,
    private readonly host: CardHost,
    number: number,
    public options: Options | null = null,
  ) {
    source.hold();
    const label = number > 1 ? `${source.name} (${number})` : source.name;
    this.media = h('audio', { preload: 'metadata', src: source.url });
    this.table = new SegmentTable(['tableCaption', { name: label }], (segment) => this.play(segment));
    this.toolbar = new Toolbar({
      play: () => this.view?.playPause(),
      step: (by) => this.step(by),
      zoom: (factor) => this.view?.zoomBy(factor),
      fit: () => this.view?.fit(),
    });
    this.element = h('article', { class: 'card', 'aria-label': label });
    this.element.append(this.header(number), this.progress.element, this.problem.element, this.notice.element, this.notKept.element, this.warnings.element, this.body);
    this.element.addEventListener('keydown', (event) => this.key(event));
  }

  private header(number: number): HTMLElement {
    const { name } = this.source;
    const title = h('h2', {}, h('span', { class: 'name' }, name));
    if (number > 1) title.append(' ', h('span', { class: 'badge', t: ['copyNumber', { n: number }] }));
    this.compare.append(icon(COMPARE), h('span', { t: 'compare' }));
    setText(this.compare, 'compareFile', { name }, 'title');
    const remove = h('button', { type: 'button', class: 'icon-button', tLabel: ['removeFile', { name }], tTitle: 'remove', onclick: () => this.remove() });
    remove.append(icon(REMOVE));
    return h('header', {}, h('div', { class: 'titles' }, title, this.meta), this.compare, remove);
  }

  /** Uploads and shows, whatever comes of it. */
  async analyse(): Promise<void> {
    this.sendAgain = true;
    this.askAgain = true;
    if (!this.asking) await this.ask();
  }

  private async send(): Promise<void> {
    this.problem.clear();
    this.sendAgain = false;
    this.sending = this.options?.model ?? null;
    this.progress.show('uploading', {}, 0, () => this.giveUp());
    const upload = this.source.detect(this.options?.request() ?? {}, {
      uploaded: (done, total) => this.progress.show('uploadingOf', { done: megabytes(done), total: megabytes(total) }, done / total),
      found: (segments, doneMs, expectedMs) => this.showFound(segments, doneMs, expectedMs),
    });
    this.cancel = upload.cancel;
    try {
      const answer = await upload.result;
      this.sending = null;
      await this.present(answer);
    } finally {
      this.sending = null;
      this.progress.hide();
    }
  }

  private giveUp(): void {
    this.askAgain = false;
    this.cancel?.();
  }

  private showFound(segments: readonly Segment[], doneMs: number, expectedMs: number | null): void {
    if (!this.exports && segments.length > 0) this.showEarly(segments);
    if (doneMs === 0 || expectedMs === null) return this.progress.show('analysing', {}, null);
    const args = { done: clock(doneMs), total: clock(expectedMs), count: segments.length };
    this.progress.show('analysingOf', args, doneMs / expectedMs);
  }

  /** Segments can be listened to while the rest is still being looked at. */
  private showEarly(segments: readonly Segment[]): void {
    if (!this.table.element.isConnected) {
      this.body.replaceChildren(this.table.element);
      this.body.hidden = false;
    }
    this.table.show(segments);
  }

  private fail(error: unknown): void {
    const again = { key: 'retry', run: () => void this.analyse() } as const;
    if (error instanceof Problem && error.option && this.settings?.complain(error)) {
      this.problem.clear();
    } else if (error instanceof DOMException && error.name === 'AbortError') {
      this.problem.note('cancelled', again);
    } else if (error instanceof Problem && error.code === 'no_such_analysis') {
      this.problem.show(error, { ...again, key: 'again' });
    } else {
      this.problem.show(error, again);
    }
  }

  /** Shows an answer to the file itself; the first time, with everything around it. */
  private async present(answer: Detection): Promise<void> {
    this.describe(answer);
    this.progress.show('drawing', {}, null, null);
    const { name } = answer.model;
    const [offers, picture] = await Promise.all([catalogue(), this.source.fetchPicture(name)]);
    if (offers.isNews(name)) await offers.reload();
    this.options ??= new Options(offers, name);
    if (!this.exports) this.furnish(this.options, picture);
    else this.view?.show(picture);
    if (picture) this.notKept.clear();
    else this.notKept.tell('notKept');
    this.showSegments(answer);
  }

  /** Begins where another card of the same file stands. */
  async presentLike(card: Card): Promise<void> {
    try {
      if (card.answer) await this.present(card.answer);
    } catch (error) {
      this.fail(error);
    } finally {
      this.progress.hide();
    }
    // The other one may be on its way to another model.
    if (this.settings && card.answer?.model.name !== this.options?.model) this.turned();
  }

  private furnish(options: Options, picture: Picture | null): void {
    this.exports = new ExportPanel(this.source, options, this.progress, (error) => this.fail(error));
    const settings = new SettingsPanel(options, () => this.turned());
    this.settings = settings;
    const left = h('section', { class: 'turn' }, h('h3', { t: 'settings' }), h('p', { class: 'hint', t: 'settingsHint' }), settings.element);
    const right = h('section', { class: 'list' }, h('h3', { t: 'segments' }), this.table.element);
    this.compare.hidden = false;
    this.body.hidden = false;
    this.body.replaceChildren(this.summary.element);
    if (picture) {
      this.toolbar.setDuration(picture.durationMs);
      this.view = new View(picture, this.media, this.viewEvents());
      this.body.append(this.toolbar.element, this.view.element, h('p', { class: 'hint keys', t: 'keys' }));
    }
    this.body.append(h('div', { class: 'columns' }, left, right), this.exports.element);
  }

  private viewEvents(): ConstructorParameters<typeof View>[2] {
    return {
      time: (ms) => this.toolbar.showTime(ms),
      playing: (on) => {
        this.toolbar.showPlaying(on);
        if (on) this.host.playing(this);
      },
      chosen: (segment) => {
        this.play(segment);
        this.table.select(segment.index, true);
      },
      moved: () => this.host.moved(this),
      unplayable: () => this.notice.tell('unplayable'),
    };
  }

  private describe({ audio, timing }: Detection): void {
    const format = [audio.format, audio.subtype].filter(Boolean).join(' ');
    this.meta.replaceChildren(
      this.madeBy,
      h('span', { t: ['meta', { format, rate: audio.sample_rate, channels: audio.channels }] }),
      h('span', { t: ['timing', { ms: timing.total_ms, rtf: timing.rtf.toFixed(4) }] }),
    );
  }

  private showSegments(answer: Detection): void {
    this.answer = answer;
    this.current = -1;
    this.learn(answer);
    this.warnings.show(answer.warnings);
    this.summary.show(answer.segments.length, answer.speech_ms, answer.audio.duration_ms, answer.chunks?.length);
    this.table.select(-1);
    this.table.show(answer.segments, false, answer.chunks ?? null);
    this.view?.select(null);
    this.view?.setSegments(answer.segments, answer.chunks ?? [], this.options ? thresholdsOf(this.options) : []);
    this.exports?.refresh();
    this.element.dataset['chunks'] = String(answer.chunks?.length ?? '');
    this.element.dataset['segments'] = String(answer.segments.length);
  }

  /** What turned out to be in force. */
  private learn({ model, options }: Detection): void {
    setText(this.madeBy, 'madeBy', { model: model.name, mode: String(options['mode']) });
    if (model.name === this.options?.model) this.options.learn(options);
    this.settings?.refresh();
    this.settings?.content();
  }

  /** A setting has changed: one question at a time, the newest settings last. */
  private turned(): void {
    this.exports?.refresh();
    this.askAgain = true;
    if (!this.asking) void this.ask();
    // What another model would make of the file is not waited for.
    else if (this.sending && this.sending !== this.options?.model) this.cancel?.();
  }

  private async ask(): Promise<void> {
    this.asking = true;
    try {
      while (this.askAgain) {
        this.askAgain = false;
        await this.answerSettings();
      }
    } finally {
      this.asking = false;
    }
  }

  private async answerSettings(): Promise<void> {
    const { options } = this;
    const id = options && !this.sendAgain ? this.source.idOf(options.model) : null;
    try {
      if (!options || !id) return await this.send();
      this.showSegments(await segmentsOf(id, options.changed()));
      this.problem.clear();
    } catch (error) {
      // There is a newer question than the one that failed.
      if (!this.askAgain) this.fail(error);
    }
  }

  private play(segment: Segment): void {
    this.mark(segment);
    if (this.view) return this.view.playSegment(segment);
    this.media.currentTime = segment.start_ms / 1000;
    // Another play comes in between: that is no fault of the format.
    void this.media.play().catch((error: Error) => error.name === 'AbortError' || this.notice.tell('unplayable'));
  }

  private mark(segment: Segment): void {
    this.current = segment.index;
    this.table.select(segment.index);
    this.view?.select(segment);
  }

  private step(by: number): void {
    const next = this.answer?.segments[this.current < 0 && by > 0 ? 0 : this.current - 1 + by];
    if (!next) return;
    this.mark(next);
    this.table.select(next.index, true);
    this.view?.seek(next.start_ms);
  }

  /** A key pressed on this card. */
  key(event: KeyboardEvent): void {
    if (this.view) pressed(event, this.view, (by) => this.step(by));
  }

  remove(): void {
    this.cancel?.();
    this.media.pause();
    this.view?.destroy();
    this.table.destroy();
    this.source.release();
    this.element.remove();
    this.host.removed(this);
  }
}
