/** The spectrogram of what is in sight, from the file itself: the browser decodes it, on demand and once. */

import { spectrumAt, WINDOW } from './spectrum';
import { msOf, type Viewport } from './viewport';

/** What models of speech hear: up to 8 kHz. */
const RATE = 16_000;
/** An hour takes 230 MB as the samples that browsers decode to; more is not asked of a phone. */
export const LONGEST_MS = 3_600_000;

/** Mono samples at 16 kHz. Rejects where the browser cannot decode the file. */
export async function decoded(file: File): Promise<Float32Array> {
  const context = new OfflineAudioContext(1, 1, RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  const mix = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const samples = buffer.getChannelData(channel);
    for (let at = 0; at < mix.length; at += 1) mix[at] = (mix[at] ?? 0) + (samples[at] ?? 0) / buffer.numberOfChannels;
  }
  return mix;
}

/** A column for each pixel in sight, low frequencies below. */
export function spectrogram(samples: Float32Array, view: Viewport, height: number): ImageData {
  const image = new ImageData(Math.max(1, Math.round(view.width)), Math.max(1, Math.round(height)));
  for (let x = 0; x < image.width; x += 1) {
    const bands = spectrumAt(samples, Math.round(((view.startMs + msOf(view, x + 0.5)) / 1000) * RATE));
    for (let y = 0; y < image.height; y += 1) {
      const band = Math.floor(((image.height - 1 - y) / image.height) * (WINDOW / 2));
      paintLevel(image.data, 4 * (y * image.width + x), bands[band] ?? 0);
    }
  }
  return image;
}

/** Black over violet and orange to pale yellow: even steps of level look like even steps, in grey too. */
const STOPS = [
  [0, 0, 4],
  [81, 18, 124],
  [183, 55, 121],
  [252, 137, 97],
  [252, 253, 191],
] as const;

function paintLevel(pixels: Uint8ClampedArray, at: number, level: number): void {
  const place = level * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  for (let part = 0; part < 3; part += 1) {
    const [from, to] = [STOPS[low]?.[part] ?? 0, STOPS[low + 1]?.[part] ?? 0];
    pixels[at + part] = from + (to - from) * (place - low);
  }
  pixels[at + 3] = 255;
}
