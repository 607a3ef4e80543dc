/** 16-bit mono PCM as a WAV file. */

const HEADER = 44;

export function wavFile(chunks: readonly Int16Array<ArrayBuffer>[], sampleRate: number, name: string): File {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const view = new DataView(new ArrayBuffer(HEADER));
  const text = (at: number, value: string): void => {
    for (let index = 0; index < value.length; index += 1) view.setUint8(at + index, value.charCodeAt(index));
  };
  text(0, 'RIFF');
  view.setUint32(4, HEADER - 8 + bytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, bytes, true);
  return new File([view, ...chunks], name, { type: 'audio/wav' });
}

/** Such as `recording-20250131-235959.wav`. */
export function recordingName(now: Date): string {
  const parts = [now.getFullYear(), now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()];
  const [date, time] = [parts.slice(0, 3), parts.slice(3)].map((some) => some.map((part) => String(part).padStart(2, '0')).join(''));
  return `recording-${date}-${time}.wav`;
}
