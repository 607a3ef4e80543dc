/** The microphone as chunks of 100 ms of 16-bit PCM. */

import type { TextKey } from '../text/texts';
import workletUrl from './capture-worklet.js?url';

/** The highest rate that the service takes live; some sound cards run at more. */
const MOST_HZ = 48_000;

/** Why there is no sound; `key` says it to the person. */
export class MicrophoneError extends Error {
  constructor(
    readonly key: TextKey,
    readonly reason = '',
  ) {
    super(key);
  }
}

export class Microphone {
  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
    private readonly node: AudioWorkletNode,
  ) {}

  get sampleRate(): number {
    return this.context.sampleRate;
  }

  /** Asks for permission and starts. `onGone`: it was unplugged, or taken back. Rejects with `MicrophoneError`. */
  static async open(onChunk: (pcm: Int16Array<ArrayBuffer>) => void, onGone: () => void): Promise<Microphone> {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new MicrophoneError('micInsecure');
    const stream = await ask();
    const context = soundContext();
    try {
      await context.audioWorklet.addModule(workletUrl);
      await context.resume();
      const node = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
      node.port.onmessage = (event: MessageEvent<{ pcm: Int16Array<ArrayBuffer> }>) => onChunk(event.data.pcm);
      context.createMediaStreamSource(stream).connect(node);
      for (const track of stream.getTracks()) track.addEventListener('ended', onGone);
      return new Microphone(context, stream, node);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      void context.close();
      throw new MicrophoneError('micFailed', String(error));
    }
  }

  /** Stops; resolves when the last chunk has been handed over. */
  async close(): Promise<void> {
    const take = this.node.port.onmessage;
    await new Promise<void>((resolve) => {
      this.node.port.onmessage = (event) => {
        take?.call(this.node.port, event);
        if ((event.data as { last: boolean }).last) resolve();
      };
      this.node.port.postMessage('stop');
    });
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}

function soundContext(): AudioContext {
  const context = new AudioContext();
  if (context.sampleRate <= MOST_HZ) return context;
  void context.close();
  return new AudioContext({ sampleRate: MOST_HZ });
}

/** The sound as it is: what makes calls pleasant changes what is measured. */
async function ask(): Promise<MediaStream> {
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : '';
    if (name === 'NotAllowedError') throw new MicrophoneError('micDenied');
    if (name === 'NotFoundError') throw new MicrophoneError('micMissing');
    throw new MicrophoneError('micFailed', String(error));
  }
}
