/** One live detection over the WebSocket. */

import { Problem, socketAddress, wantsKey, type OptionValues, type Segment } from './api';

export interface LiveEvents {
  ready(): void;
  speechStart(startMs: number): void;
  speechEnd(startMs: number, endMs: number, forced: boolean): void;
  probabilities(startMs: number, intervalMs: number, values: readonly number[]): void;
  done(segments: readonly Segment[]): void;
  failed(problem: Problem): void;
}

type Message =
  | { type: 'ready' }
  | { type: 'speech_start'; start_ms: number }
  | { type: 'speech_end'; start_ms: number; end_ms: number; forced_end: boolean }
  | { type: 'probability'; start_ms: number; interval_ms: number; values: number[] }
  | { type: 'done'; segments: Omit<Segment, 'index'>[] }
  | { type: 'error'; code: string; title?: string; detail: string };

export class LiveSession {
  private readonly socket: WebSocket;
  private over = false;
  private wasReady = false;
  private early: Int16Array<ArrayBuffer>[] = [];

  constructor(
    sampleRate: number,
    options: OptionValues,
    private readonly events: LiveEvents,
  ) {
    const query = { ...options, sample_rate: sampleRate, encoding: 'pcm_s16le', probabilities: true };
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

  /** No more sound comes; the service answers with `done`. */
  end(): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send('{"type":"end"}');
    else this.socket.close();
  }

  private take(message: Message): void {
    const { events } = this;
    if (message.type === 'ready') {
      this.wasReady = true;
      for (const pcm of this.early.splice(0)) this.socket.send(pcm);
      events.ready();
    } else if (message.type === 'speech_start') events.speechStart(message.start_ms);
    else if (message.type === 'speech_end') events.speechEnd(message.start_ms, message.end_ms, message.forced_end);
    else if (message.type === 'probability') events.probabilities(message.start_ms, message.interval_ms, message.values);
    else if (message.type === 'done') {
      this.over = true;
      events.done(message.segments.map((segment, place) => ({ ...segment, index: place + 1 })));
    } else if (message.type === 'error') {
      this.over = true;
      events.failed(new Problem(message.title ?? message.code, message.detail, message.code, 0));
    }
  }

  /** A refused handshake looks to a page like any other close, so the reason is asked for over HTTP. */
  private async closed(event: CloseEvent): Promise<void> {
    if (this.over) return;
    this.over = true;
    const refused = !this.wasReady && (await wantsKey());
    this.events.failed(refused ? new Problem('', event.reason, 'unauthorized', 401) : Problem.network());
  }
}
