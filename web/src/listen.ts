/** The panel of the microphone: record to a file, or detect live. */

import { Problem, type Segment } from './api';
import { h } from './dom';
import { setText } from './i18n';
import { LivePicture } from './live-picture';
import { LiveSession } from './live-session';
import { Microphone, MicrophoneError } from './microphone';
import { Options } from './options';
import { ProblemBox } from './problem';
import { SettingsPanel } from './settings';
import { SegmentTable } from './table';
import type { TextKey } from './texts';
import { clock } from './time';
import { recordingName, wavFile } from './wav';

interface Found {
  startMs: number;
  endMs: number | null;
  forced: boolean;
}

export class ListenPanel {
  readonly element: HTMLElement;
  private readonly problem = new ProblemBox();
  private readonly picture = new LivePicture();
  private readonly table: SegmentTable;
  private readonly options = new Options();
  private readonly state = h('span', { class: 'state', role: 'status', t: 'liveIdle' });
  private readonly time = h('span', { class: 'time' });
  private readonly startButton = h('button', { type: 'button', class: 'primary', t: 'start', onclick: () => void this.start() });
  private readonly stopButton = h('button', { type: 'button', class: 'stop', t: 'stop', hidden: true, onclick: () => void this.stop() });
  private readonly openButton = h('button', { type: 'button', t: 'openAsFile', hidden: true, onclick: () => this.handOver() });
  private microphone: Microphone | null = null;
  private session: LiveSession | null = null;
  private chunks: Int16Array<ArrayBuffer>[] = [];
  private rate = 0;
  private found: Found[] = [];

  /** `recorded` takes what was recorded; `closed` is called when the panel is put away. */
  constructor(
    readonly live: boolean,
    private readonly recorded: (file: File) => void,
    private readonly closed: () => void,
  ) {
    this.table = new SegmentTable(['liveTable', {}], () => undefined);
    this.table.element.querySelector('.rows')?.classList.add('short');
    const close = h('button', { type: 'button', class: 'quiet', t: 'close', onclick: () => void this.close() });
    const buttons = h('div', { class: 'toolbar' }, this.startButton, this.stopButton, this.openButton, this.state, this.time);
    this.element = h(
      'section',
      { class: 'card listen', tLabel: live ? 'liveTitle' : 'recordTitle' },
      h('header', {}, h('div', { class: 'titles' }, h('h2', { t: live ? 'liveTitle' : 'recordTitle' }), h('p', { class: 'hint', t: live ? 'liveHint' : 'recordHint' })), close),
      this.problem.element,
      buttons,
      this.picture.canvas,
    );
    if (live) this.element.append(this.table.element, this.settings());
    this.table.show([]);
    (this.table.element.querySelector('.empty') as HTMLElement).hidden = true;
  }

  private settings(): HTMLElement {
    const panel = new SettingsPanel(this.options, () => undefined);
    return h('details', {}, h('summary', { t: 'settings' }), h('p', { class: 'hint', t: 'liveNext' }), panel.element);
  }

  async start(): Promise<void> {
    this.problem.clear();
    this.chunks = [];
    this.found = [];
    this.picture.reset();
    this.showFound();
    this.startButton.disabled = true;
    try {
      this.microphone = await Microphone.open((pcm) => this.heard(pcm));
    } catch (error) {
      this.startButton.disabled = false;
      return this.refuse(error);
    }
    this.rate = this.microphone.sampleRate;
    if (this.live) this.connect();
    this.showRunning(true);
  }

  private refuse(error: unknown): void {
    const known = error instanceof MicrophoneError ? error : new MicrophoneError('micFailed', String(error));
    this.problem.tell(known.key, { reason: known.reason });
  }

  private connect(): void {
    this.say('liveConnecting');
    this.session = new LiveSession(this.rate, this.options.changed(), {
      ready: () => this.say('liveSilent'),
      speechStart: (startMs) => this.began(startMs),
      speechEnd: (startMs, endMs, forced) => this.ended(startMs, endMs, forced),
      probabilities: (startMs, frameMs, values) => this.picture.addProbabilities(startMs, frameMs, values),
      done: (segments) => this.finished(segments),
      failed: (problem) => void this.failed(problem),
    });
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
    this.found.push({ startMs, endMs: null, forced: false });
    this.say('liveSpeaking');
    this.showFound();
  }

  private ended(startMs: number, endMs: number, forced: boolean): void {
    const open = this.found.findIndex((one) => one.endMs === null);
    this.found.splice(open < 0 ? this.found.length : open, 1, { startMs, endMs, forced });
    this.say('liveSilent');
    this.showFound();
  }

  private finished(segments: readonly Segment[]): void {
    this.found = segments.map((one) => ({ startMs: one.start_ms, endMs: one.end_ms, forced: one.forced_end }));
    this.picture.setSegments(this.found);
    this.table.show(segments);
    this.say('liveDone');
    this.element.dataset['segments'] = String(segments.length);
  }

  private showFound(): void {
    this.picture.setSegments(this.found);
    this.table.show(this.found.map((one, at) => segmentSoFar(one, at + 1, this.picture.elapsedMs)));
    this.element.dataset['segments'] = String(this.found.length);
  }

  private async failed(problem: Problem): Promise<void> {
    this.problem.show(problem, { key: 'retry', run: () => void this.start() });
    this.say('liveIdle');
    await this.quiet();
  }

  /** Stops the microphone; the service then tells what it has found in all. */
  async stop(): Promise<void> {
    await this.quiet();
    this.session?.end();
    if (!this.live) this.handOver();
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
  }

  private handOver(): void {
    if (this.chunks.length > 0) this.recorded(wavFile(this.chunks, this.rate, recordingName(new Date())));
  }

  async close(): Promise<void> {
    this.session?.end();
    await this.quiet();
    this.table.destroy();
    this.element.remove();
    this.closed();
  }
}

function segmentSoFar({ startMs, endMs, forced }: Found, index: number, nowMs: number): Segment {
  const end = endMs ?? Math.max(startMs, nowMs);
  return { index, start_ms: startMs, end_ms: end, duration_ms: end - startMs, forced_end: forced, speech_probability: NaN };
}
