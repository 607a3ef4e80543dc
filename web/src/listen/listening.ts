/** One use of the microphone: what it hears, and in the live case what the service finds in it. */

import { batch, computed, signal } from '@preact/signals';
import { addFiles } from '../clip/clips';
import { type FoundSegment, LiveSession } from '../service/live-session';
import { catalogue, fetchCatalogue, reloadCatalogue } from '../service/offered';
import type { Problem } from '../service/problem';
import type { Model, OptionValues, Segment, Value } from '../service/types';
import { initialSettings, type Offer, optionValue, requestOptions, type Settings } from '../settings/settings';
import type { Args } from '../text/i18n';
import type { TextKey } from '../text/texts';
import { LivePicture } from './live-picture';
import { Microphone, MicrophoneError } from './microphone';
import { recordingName, wavFile } from './wav';

/** What has been found: a segment whose end has not come has none. */
export interface LiveSegment {
  readonly start_ms: number;
  readonly end_ms: number | null;
  readonly speech_probability: number | null;
  readonly forced_end: boolean;
}

export type ListenState = 'liveIdle' | 'liveConnecting' | 'recording' | 'liveSpeaking' | 'liveSilent' | 'liveDone';

let lastNumber = 0;

export class Listening {
  readonly number: number;
  readonly state = signal<ListenState>('liveIdle');
  readonly running = signal(false);
  /** The microphone has been asked for and has not answered. */
  readonly starting = signal(false);
  readonly segments = signal<readonly LiveSegment[]>([]);
  readonly heardMs = signal(0);
  readonly micProblem = signal<{ key: TextKey; args: Args } | null>(null);
  readonly problem = signal<Problem | null>(null);
  /** Which model and mode have answered. */
  readonly madeBy = signal<{ model: string; mode: string } | null>(null);
  readonly settings = signal<Settings | null>(null);
  readonly picture = new LivePicture();
  private readonly inForce = signal<OptionValues & { model?: string }>({});
  private readonly chunks: Int16Array<ArrayBuffer>[] = [];
  private readonly recorded = signal(false);
  private microphone: Microphone | null = null;
  private session: LiveSession | null = null;
  private rate = 0;
  private closed = false;

  /** `onClose`: the panel is to be put away. */
  constructor(
    readonly live: boolean,
    private readonly onClose: () => void,
  ) {
    lastNumber += 1;
    this.number = lastNumber;
    if (live) void this.furnish();
  }

  readonly offer = computed<Offer | null>(() => catalogue.value && { catalogue: catalogue.value, live: true });
  readonly canOpenAsFile = computed(() => !this.running.value && this.live && this.recorded.value);

  value(name: string): Value | undefined {
    const [settings, offer, told] = [this.settings.value, this.offer.value, this.inForce.value];
    if (!settings || !offer) return undefined;
    return optionValue(settings, name, offer, told.model === settings.model ? told : {});
  }

  /** Once it is known what can be set; without that, a stream has the service's defaults. */
  private async furnish(): Promise<void> {
    try {
      const offer: Offer = { catalogue: await fetchCatalogue(), live: true };
      this.settings.value ??= initialSettings(offer);
    } catch {
      // The start tells what is wrong.
    }
  }

  async start(): Promise<void> {
    this.clear();
    this.starting.value = true;
    try {
      const microphone = await Microphone.open(
        (pcm) => this.heard(pcm),
        () => void this.gone(),
      );
      // The browser may have asked for long; the panel may be gone by now.
      if (this.closed) return await microphone.close();
      this.microphone = microphone;
      this.rate = microphone.sampleRate;
      this.running.value = true;
      if (this.live) this.connect();
      else this.state.value = 'recording';
    } catch (error) {
      const known = error instanceof MicrophoneError ? error : new MicrophoneError('micFailed', String(error));
      this.micProblem.value = { key: known.key, args: { reason: known.reason } };
    } finally {
      this.starting.value = false;
    }
  }

  private clear(): void {
    this.session?.drop(); // whose last words would be taken for this one's
    this.session = null;
    this.chunks.length = 0;
    this.picture.reset();
    batch(() => {
      this.micProblem.value = null;
      this.problem.value = null;
      this.recorded.value = false;
      this.heardMs.value = 0;
      this.found([]);
    });
  }

  private connect(): void {
    this.state.value = 'liveConnecting';
    const [settings, offer] = [this.settings.value, this.offer.value];
    const request = settings && offer ? requestOptions(settings, offer) : {};
    this.session = new LiveSession(this.rate, request, {
      ready: (model, options) => void this.connected(model, options),
      speechStart: (startMs) => this.began(startMs),
      speechEnd: (segment) => this.ended(segment),
      probabilities: (startMs, frameMs, values) => this.picture.addProbabilities(startMs, frameMs, values),
      done: (segments) => this.finished(segments),
      failed: (problem) => void this.failed(problem),
    });
  }

  private async connected(model: Model, inForce: OptionValues): Promise<void> {
    this.state.value = 'liveSilent';
    this.madeBy.value = { model: model.name, mode: String(inForce.mode) };
    await this.furnish();
    if (catalogue.value?.isNews(model.name)) await reloadCatalogue().catch(() => undefined);
    // A stream that names no model is answered by the default one.
    if (this.settings.value && Object.keys(this.settings.value.given).length === 0) {
      this.settings.value = { ...this.settings.value, model: model.name };
    }
    this.inForce.value = { ...inForce, model: model.name };
  }

  private heard(pcm: Int16Array<ArrayBuffer>): void {
    if (pcm.length === 0) return;
    this.chunks.push(pcm);
    this.recorded.value = true;
    this.session?.send(pcm);
    this.picture.addLevel(pcm);
    this.heardMs.value = this.picture.elapsedMs;
  }

  private found(segments: readonly LiveSegment[]): void {
    this.segments.value = segments;
    this.picture.setSegments(segments);
  }

  private began(startMs: number): void {
    this.state.value = 'liveSpeaking';
    this.found([...this.segments.value, { start_ms: startMs, end_ms: null, speech_probability: null, forced_end: false }]);
  }

  private ended(segment: FoundSegment): void {
    this.state.value = 'liveSilent';
    this.found([...this.segments.value.filter(({ end_ms }) => end_ms !== null), segment]);
  }

  private finished(segments: readonly Segment[]): void {
    this.state.value = 'liveDone';
    this.found(segments);
  }

  private async failed(problem: Problem): Promise<void> {
    this.problem.value = problem;
    this.state.value = this.state.value === 'liveConnecting' ? 'liveIdle' : 'liveDone';
    await this.quiet();
  }

  /** Stops the microphone; the service then tells what it has found in all. */
  async stop(): Promise<void> {
    await this.quiet();
    this.session?.end();
    if (this.live) return;
    this.state.value = 'liveDone';
    this.openAsFile();
  }

  /** The device has gone; what it heard counts. */
  private async gone(): Promise<void> {
    await this.stop();
    this.micProblem.value = { key: 'micGone', args: {} };
  }

  private async quiet(): Promise<void> {
    const { microphone } = this;
    this.microphone = null;
    await microphone?.close();
    this.running.value = false;
  }

  openAsFile(): void {
    if (this.chunks.length > 0) addFiles([wavFile(this.chunks, this.rate, recordingName(new Date()))]);
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.quiet();
    this.session?.drop();
    this.onClose();
  }
}
