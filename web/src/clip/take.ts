/** One file under one set of settings: what is asked, what has come of it. */

import { batch, computed, signal } from '@preact/signals';
import { segmentsOf } from '../service/api';
import { catalogue, fetchCatalogue, reloadCatalogue } from '../service/offered';
import { Problem } from '../service/problem';
import type { Detection, OptionValues, Segment, Value } from '../service/types';
import { detect } from '../service/upload';
import { changedOptions, type Offer, optionValue, requestOptions, type Settings } from '../settings/settings';
import { sharedSettings } from '../settings/shared';
import { type Threshold, thresholdsOf } from '../settings/thresholds';
import type { Args } from '../text/i18n';
import type { TextKey } from '../text/texts';
import type { Picture } from '../timeline/picture';
import { clock } from '../timeline/time';
import type { Kept } from './kept';
import { takeTurn } from './turns';

export interface Busy {
  key: TextKey;
  args: Args;
  /** 0 to 1; null while that is not known. */
  share: number | null;
  cancel: (() => void) | null;
}

/** `12.3 MB`. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;
}

const GIVEN_UP = new DOMException('given up', 'AbortError');

/** An answer and what belongs to it: nothing of one model is ever shown beside the segments of another. */
export interface Outcome {
  readonly answer: Detection;
  /** The curve that the segments were cut from; null where the service keeps nothing. */
  readonly picture: Picture | null;
  /** The finest waveform of the same sound. */
  readonly wave: Picture | null;
}

export class Take {
  /** Null until the service has told what there is. */
  readonly settings = signal<Settings | null>(null);
  readonly outcome = signal<Outcome | null>(null);
  readonly answer = computed(() => this.outcome.value?.answer ?? null);
  /** What has been found so far of a file that is still being looked at. */
  readonly early = signal<readonly Segment[]>([]);
  readonly busy = signal<Busy | null>(null);
  readonly problem = signal<Problem | 'cancelled' | null>(null);
  /** The service keeps nothing of the file, so every change sends it again. */
  readonly notKept = computed(() => this.outcome.value?.picture === null);
  private asking = false;
  private askAgain = false;
  private sendAgain = false;
  /** What the file is being sent under. */
  private sending: string | null = null;
  private cancel: (() => void) | null = null;

  constructor(
    private readonly file: File,
    private readonly kept: Kept,
    settings: Settings | null = null,
  ) {
    this.settings.value = settings;
  }

  /** What there is to choose from; null until it is known. */
  readonly offer = computed<Offer | null>(() => catalogue.value && { catalogue: catalogue.value, live: false });

  /** An option as it is set or in force. */
  value(name: string): Value | undefined {
    const [settings, offer] = [this.settings.value, this.offer.value];
    if (!settings || !offer) return undefined;
    const answer = this.answer.value;
    return optionValue(settings, name, offer, answer?.model.name === settings.model ? answer.options : {});
  }

  readonly thresholds = computed<Threshold[]>(() => {
    const answer = this.answer.value;
    return answer ? thresholdsOf(answer.options) : [];
  });

  /** As a request that brings the audio has them. */
  request(): OptionValues {
    const [settings, offer] = [this.settings.value, this.offer.value];
    return settings && offer ? requestOptions(settings, offer) : {};
  }

  /** As a request to what is kept has them; null where nothing is. */
  keptRequest(): { id: string; options: OptionValues } | null {
    const [settings, offer] = [this.settings.value, this.offer.value];
    if (!settings || !offer) return null;
    const id = this.kept.idOf(settings.model, settings.audio);
    return id === null ? null : { id, options: changedOptions(settings, offer) };
  }

  /** Sends the file, whatever the service keeps of it. */
  analyse(): void {
    this.sendAgain = true;
    this.turned();
  }

  change(settings: Settings): void {
    this.settings.value = settings;
    this.turned();
  }

  /** One question at a time, the newest settings last. */
  private turned(): void {
    this.askAgain = true;
    if (!this.asking) void this.ask();
    // What another model would make of the file is not waited for.
    else if (this.sending !== null && this.sending !== this.route()) this.cancel?.();
  }

  /** What makes the service hear the file itself. */
  private route(): string {
    const settings = this.settings.value;
    return JSON.stringify([settings?.model, settings?.audio]);
  }

  giveUp(): void {
    this.askAgain = false;
    this.cancel?.();
  }

  private async ask(): Promise<void> {
    this.asking = true;
    try {
      while (this.askAgain) {
        this.askAgain = false;
        await this.answerOnce();
      }
    } finally {
      this.asking = false;
    }
  }

  private async answerOnce(): Promise<void> {
    try {
      if (this.file.size === 0) throw Problem.own('empty');
      await this.haveSettings();
      const kept = this.sendAgain ? null : this.keptRequest();
      if (!kept || !(await this.segmentAgain(kept))) await this.send();
    } catch (error) {
      // There is a newer question than the one that failed.
      if (!this.askAgain) this.fail(error);
    }
  }

  /** Asks for other segments of the scores that are kept; false where the service does not have them any more. */
  private async segmentAgain({ id, options }: { id: string; options: OptionValues }): Promise<boolean> {
    const { model = '', audio = {} } = this.settings.value ?? {};
    try {
      const answer = await segmentsOf(id, options);
      this.show(answer, await this.kept.picture(model, audio), audio);
      return true;
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'no_such_analysis')) throw error;
      // Their time is over, or the service was started anew.
      this.kept.drop(model, audio);
      return false;
    }
  }

  private async haveSettings(): Promise<void> {
    if (this.settings.value && catalogue.value) return;
    const offer: Offer = { catalogue: await fetchCatalogue(), live: false };
    this.settings.value ??= sharedSettings(offer);
  }

  private async send(): Promise<void> {
    const { audio = {} } = this.settings.value ?? {};
    this.problem.value = null;
    this.sendAgain = false;
    this.sending = this.route();
    const turn = takeTurn();
    this.cancel = turn.end;
    this.report('waiting', {}, null, turn.end);
    try {
      if (!(await turn.come)) throw GIVEN_UP;
      const upload = detect(this.file, this.request(), this.progress());
      this.cancel = upload.cancel;
      this.report('uploading', {}, 0, upload.cancel);
      const answer = await upload.result;
      turn.end();
      this.sending = null;
      this.kept.take(answer, audio);
      await this.present(answer, audio);
    } finally {
      turn.end();
      this.sending = null;
      this.cancel = null;
      this.busy.value = null;
      this.early.value = [];
    }
  }

  private report(key: TextKey, args: Args, share: number | null, cancel: (() => void) | null): void {
    this.busy.value = { key, args, share, cancel };
  }

  private progress(): Parameters<typeof detect>[2] {
    const cancel = (): void => this.cancel?.();
    return {
      uploaded: (done, total) => this.report('uploadingOf', { done: megabytes(done), total: megabytes(total) }, done / total, cancel),
      found: (segments, doneMs, expectedMs) => {
        if (!this.answer.value && segments.length > this.early.value.length) this.early.value = [...segments];
        if (doneMs === 0 || expectedMs === null) return this.report('analysing', {}, null, cancel);
        const args = { done: clock(doneMs), total: clock(expectedMs), count: segments.length };
        this.report('analysingOf', args, doneMs / expectedMs, cancel);
      },
    };
  }

  /** An answer to the file itself: its picture too. */
  private async present(answer: Detection, audio: OptionValues): Promise<void> {
    this.report('drawing', {}, null, null);
    const { name } = answer.model;
    const offers = await fetchCatalogue();
    const picture = await this.kept.picture(name, audio);
    if (offers.isNews(name)) await reloadCatalogue();
    this.show(answer, picture, audio);
  }

  private show(answer: Detection, picture: Picture | null, audio: OptionValues): void {
    batch(() => {
      this.outcome.value = { answer, picture, wave: this.kept.wave(audio) };
      this.problem.value = null;
      const { settings } = this;
      // A request that names no model is answered by the default one, whichever that is by now.
      if (settings.value && this.answeredAnother(answer)) settings.value = { ...settings.value, model: answer.model.name };
    });
  }

  private answeredAnother(answer: Detection): boolean {
    return this.request().model === undefined && answer.model.name !== this.settings.value?.model && !this.askAgain;
  }

  private fail(error: unknown): void {
    if (error instanceof DOMException && error.name === 'AbortError') this.problem.value = 'cancelled';
    else this.problem.value = Problem.from(error);
  }

  /** The same answer, for another take to begin with. */
  adopt(other: Take): void {
    batch(() => {
      this.settings.value = other.settings.value;
      this.outcome.value = other.outcome.value;
    });
  }
}
