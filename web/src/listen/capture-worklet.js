/** Runs in the audio thread: gathers 100 ms of mono sound as 16-bit PCM and hands it over. */

const SCALE = 32767;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 10);
    this.chunk = new Int16Array(this.size);
    this.filled = 0;
    this.open = true;
    this.port.onmessage = () => {
      this.open = false;
      this.hand(this.chunk.slice(0, this.filled), true);
    };
  }

  process([input]) {
    const channel = input[0];
    if (this.open && channel) for (let at = 0; at < channel.length; at += 1) this.take(channel[at]);
    return this.open;
  }

  take(sample) {
    this.chunk[this.filled] = Math.max(-1, Math.min(1, sample)) * SCALE;
    this.filled += 1;
    if (this.filled < this.size) return;
    this.hand(this.chunk, false);
    this.chunk = new Int16Array(this.size);
    this.filled = 0;
  }

  hand(pcm, last) {
    this.port.postMessage({ pcm, last }, [pcm.buffer]);
  }
}

registerProcessor('capture', Capture);
