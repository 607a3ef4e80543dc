/** One live detection over the WebSocket. */

import { refusal, socketAddress } from './api';
import { Problem } from './problem';
import type { Model, OptionValues, Segment } from './types';

export type FoundSegment = Omit<Segment, 'index'>;

export interface LiveEvents {
  /** `options`: the mode, and its options in force. */
  ready(model: Model, options: OptionValues): void;
  speechStart(startMs: number): void;
  speechEnd(segment: FoundSegment): void;
  probabilities(startMs: number, intervalMs: number, values: readonly number[]): void;
  done(segments: readonly Segment[]): void;
  failed(problem: Problem): void;
}

type Message =
  | { type: 'ready'; model: Model; options: OptionValues }
  | { type: 'speech_start'; start_ms: number }
  | ({ type: 'speech_end' } & FoundSegment)
  | { type: 'probability'; start_ms: number; interval_ms: number; values: number[] }
  | { type: 'done'; segments: FoundSegment[] }
  | { type: 'error'; code: string; title?: string; detail: string; option?: string };

export class LiveSession {
  private readonly socket: WebSocket;
  private over = false;
  private wasReady = false;
  private ending = false;
  private early: Int16Array<ArrayBuffer>[] = [];

  constructor(
    sampleRate: number,
    request: OptionValues,
    private readonly events: LiveEvents,
  ) {
    const query = { ...request, sample_rate: sampleRate, encoding: 'pcm_s16le', probabilities: true };
    this.socket = new WebSocket(socketAddress('vad/stream', query));
    this.socket.binaryType = 'arraybuffer';
    this.socket.addEventListener('message', (event) => this.take(JSON.parse(String(event.data)) as Message));
    this.socket.addEventListener('close', (event) => void this.closed(event));
  }

  /** What comes before the service is ready waits for it: times count from the first sample. */
  send(pcm: Int16Array<ArrayBuffer>): void {
    if (!this.wasReady) this.early.push(pcm);
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send(pcm);
  }

  /** No more sound comes; the service answers with `done`. Before it is ready, what waits for it goes first. */
  end(): void {
    this.ending = true;
    if (this.wasReady && this.socket.readyState === WebSocket.OPEN) this.socket.send('{"type":"end"}');
  }

  /** Ends, and tells of nothing any more. */
  drop(): void {
    this.over = true;
    if (!this.wasReady) this.socket.close();
    else if (!this.ending) this.end();
  }

  private take(message: Message): void {
    const { events } = this;
    if (this.over) return;
    if (message.type === 'ready') {
      this.wasReady = true;
      for (const pcm of this.early.splice(0)) this.socket.send(pcm);
      events.ready(message.model, message.options);
      if (this.ending) this.end();
    } else if (message.type === 'speech_start') events.speechStart(message.start_ms);
    else if (message.type === 'speech_end') events.speechEnd(message);
    else if (message.type === 'probability') events.probabilities(message.start_ms, message.interval_ms, message.values);
    else if (message.type === 'done') {
      this.over = true;
      events.done(message.segments.map((segment, place) => ({ ...segment, index: place + 1 })));
    } else if (message.type === 'error') {
      this.over = true;
      events.failed(new Problem(message.title ?? message.code, message.detail, message.code, 0, message.option));
    }
  }

  /** A refused handshake looks to a page like any other close, so the reason is asked for over HTTP. */
  private async closed(event: CloseEvent): Promise<void> {
    if (this.over) return;
    this.over = true;
    if (event.reason) this.events.failed(new Problem(event.reason, '', event.reason, 0));
    else if (this.wasReady) this.events.failed(Problem.own('network'));
    else this.events.failed((await refusal()) ?? Problem.own('no_stream', 503));
  }
}
