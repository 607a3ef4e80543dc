/** The panel of the microphone: record to a file, or detect live. */

import { Problem, type Model, type OptionValues, type Segment } from './api';
import { catalogue } from './catalogue';
import { h } from './dom';
import { setText } from './i18n';
import { LivePicture } from './live-picture';
import { LiveSession, type FoundSegment } from './live-session';
import { Microphone, MicrophoneError } from './microphone';
import { Options } from './options';
import { ProblemBox } from './problem';
import { SettingsPanel } from './settings';
import { SegmentTable } from './table';
import type { TextKey } from './texts';
import { clock } from './time';
import { recordingName, wavFile } from './wav';

/** Speech that goes on: what is not known yet is not a number. */
const begun = (startMs: number): FoundSegment => ({ start_ms: startMs, end_ms: NaN, duration_ms: NaN, forced_end: false, speech_probability: NaN });

export class ListenPanel {
  readonly element: HTMLElement;
  private readonly problem = new ProblemBox();
  private readonly picture = new LivePicture();
  private readonly table: SegmentTable;
  private settings: SettingsPanel | null = null;
  private readonly details = h('details', { hidden: true }, h('summary', { t: 'settings' }), h('p', { class: 'hint', t: 'liveNext' }));
  private readonly state = h('span', { class: 'state', role: 'status', t: 'liveIdle' });
  private readonly time = h('span', { class: 'time' });
  private readonly madeBy = h('span', { class: 'hint made-by' });
  /** The model that was asked for; null: none in particular. */
  private asked: string | null = null;
  private readonly startButton = h('button', { type: 'button', class: 'primary', t: 'start', onclick: () => void this.start() });
  private readonly stopButton = h('button', { type: 'button', class: 'stop', t: 'stop', hidden: true, onclick: () => void this.stop() });
  private readonly openButton = h('button', { type: 'button', t: 'openAsFile', hidden: true, onclick: () => this.handOver() });
  private microphone: Microphone | null = null;
  private session: LiveSession | null = null;
  private chunks: Int16Array<ArrayBuffer>[] = [];
  private rate = 0;
  private found: FoundSegment[] = [];

  /** `recorded` takes what was recorded; `closed` is called when the panel is put away. */
  constructor(
    readonly live: boolean,
    private readonly recorded: (file: File) => void,
    private readonly closed: () => void,
  ) {
    this.table = new SegmentTable(['liveTable', {}], null);
    this.table.element.querySelector('.rows')?.classList.add('short');
    const close = h('button', { type: 'button', class: 'quiet', t: 'close', onclick: () => void this.close() });
    const buttons = h('div', { class: 'toolbar' }, this.startButton, this.stopButton, this.openButton, this.state, this.time, this.madeBy);
    this.element = h(
      'section',
      { class: 'card listen', tLabel: live ? 'liveTitle' : 'recordTitle' },
      h('header', {}, h('div', { class: 'titles' }, h('h2', { t: live ? 'liveTitle' : 'recordTitle' }), h('p', { class: 'hint', t: live ? 'liveHint' : 'recordHint' })), close),
      this.problem.element,
      buttons,
      this.picture.canvas,
    );
    if (live) {
      this.element.append(this.table.element, this.details);
      void this.furnish();
    }
    this.table.show([], true);
  }

  /** Whether the microphone is open. */
  get running(): boolean {
    return this.microphone !== null;
  }

  /** Once it is known what can be set; without that, a stream has the service's defaults. */
  private async furnish(): Promise<void> {
    try {
      const offers = await catalogue();
      if (this.settings) return;
      this.settings = new SettingsPanel(new Options(offers, offers.firstModel(true), true), () => undefined);
      this.details.append(this.settings.element);
      this.details.hidden = false;
    } catch {
      // The start tells what is wrong.
    }
  }

  async start(): Promise<void> {
    this.problem.clear();
    this.session?.drop(); // whose last words would be taken for this one's
    this.session = null;
    this.chunks = [];
    this.found = [];
    this.picture.reset();
    this.showFound();
    this.startButton.disabled = true;
    let microphone: Microphone;
    try {
      microphone = await Microphone.open((pcm) => this.heard(pcm), () => void this.gone());
    } catch (error) {
      this.startButton.disabled = false;
      return this.refuse(error);
    }
    // The browser may have asked for long; the panel may be gone by now.
    if (!this.element.isConnected) return microphone.close();
    this.microphone = microphone;
    this.rate = microphone.sampleRate;
    if (this.live) this.connect();
    else this.say('recording');
    this.showRunning(true);
  }

  private refuse(error: unknown): void {
    const known = error instanceof MicrophoneError ? error : new MicrophoneError('micFailed', String(error));
    this.problem.tell(known.key, { reason: known.reason });
  }

  private connect(): void {
    this.say('liveConnecting');
    this.asked = this.settings?.options.model ?? null;
    this.settings?.content();
    this.session = new LiveSession(this.rate, this.settings?.options.request() ?? {}, {
      ready: (model, options) => void this.connected(model, options),
      speechStart: (startMs) => this.began(startMs),
      speechEnd: (segment) => this.ended(segment),
      probabilities: (startMs, frameMs, values) => this.picture.addProbabilities(startMs, frameMs, values),
      done: (segments) => this.finished(segments),
      failed: (problem) => void this.failed(problem),
    });
  }

  private async connected(model: Model, inForce: OptionValues): Promise<void> {
    this.say('liveSilent');
    setText(this.madeBy, 'madeBy', { model: model.name, mode: String(inForce['mode']) });
    await this.furnish();
    const options = this.settings?.options;
    if (options?.catalogue.isNews(model.name)) await options.catalogue.reload().catch(() => undefined);
    if (options?.model === (this.asked ?? model.name)) options.learn(inForce);
    this.settings?.refresh();
  }

  private heard(pcm: Int16Array<ArrayBuffer>): void {
    if (pcm.length === 0) return;
    this.chunks.push(pcm);
    this.session?.send(pcm);
    this.picture.addLevel(pcm);
    setText(this.time, 'elapsed', { time: clock(this.picture.elapsedMs).slice(0, -2) });
  }

  private say(key: TextKey): void {
    setText(this.state, key);
    this.state.dataset['state'] = key;
  }

  private began(startMs: number): void {
    this.found.push(begun(startMs));
    this.say('liveSpeaking');
    this.showFound();
  }

  private ended(segment: FoundSegment): void {
    const open = this.found.findIndex((one) => Number.isNaN(one.end_ms));
    this.found.splice(open < 0 ? this.found.length : open, 1, segment);
    this.say('liveSilent');
    this.showFound();
  }

  private finished(segments: readonly Segment[]): void {
    this.found = [...segments];
    this.picture.setSegments(this.found);
    this.table.show(segments);
    this.say('liveDone');
    this.element.dataset['segments'] = String(segments.length);
  }

  private showFound(): void {
    this.picture.setSegments(this.found);
    this.table.show(this.found.map((one, at) => ({ ...one, index: at + 1 })), true);
    this.element.dataset['segments'] = String(this.found.length);
  }

  private async failed(problem: Problem): Promise<void> {
    if (this.settings?.complain(problem)) this.details.open = true;
    else this.problem.show(problem, { key: 'retry', run: () => void this.start() });
    this.say(this.state.dataset['state'] === 'liveConnecting' ? 'liveIdle' : 'liveDone');
    await this.quiet();
  }

  /** Stops the microphone; the service then tells what it has found in all. */
  async stop(): Promise<void> {
    await this.quiet();
    this.session?.end();
    if (this.live) return;
    this.say('liveDone');
    this.handOver();
  }

  /** The device has gone; what it heard counts. */
  private async gone(): Promise<void> {
    await this.stop();
    this.problem.tell('micGone');
  }

  private async quiet(): Promise<void> {
    const { microphone } = this;
    this.microphone = null;
    await microphone?.close();
    this.showRunning(false);
  }

  private showRunning(on: boolean): void {
    this.startButton.hidden = on;
    this.startButton.disabled = false;
    this.stopButton.hidden = !on;
    this.openButton.hidden = on || !this.live || this.chunks.length === 0;
    this.element.classList.toggle('running', on);
    // Leaving the page would lose it: the browser asks.
    window.onbeforeunload = on ? (event) => event.preventDefault() : null;
  }

  private handOver(): void {
    if (this.chunks.length > 0) this.recorded(wavFile(this.chunks, this.rate, recordingName(new Date())));
  }

  async close(): Promise<void> {
    await this.quiet();
    this.session?.drop();
    this.table.destroy();
    this.element.remove();
    this.closed();
  }
}
