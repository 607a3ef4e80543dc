/** Short-time spectra: a radix-2 fast Fourier transform (Cooley and Tukey, 1965) over Hann windows. */

export const WINDOW = 512;
/** Quieter than this below full scale is black. */
const FLOOR_DB = -90;

const HANN = Float32Array.from({ length: WINDOW }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / WINDOW));

/** Level of each of the `WINDOW / 2` bands around a sample, 0 (silence) to 1 (full scale). */
export function spectrumAt(samples: Float32Array, centre: number): Float32Array {
  const real = new Float32Array(WINDOW);
  const imaginary = new Float32Array(WINDOW);
  const first = centre - WINDOW / 2;
  for (let at = 0; at < WINDOW; at += 1) real[at] = (samples[first + at] ?? 0) * (HANN[at] ?? 0);
  transform(real, imaginary);
  // A full-scale sine under this window has a magnitude of a quarter of its length.
  const full = WINDOW / 4;
  return Float32Array.from({ length: WINDOW / 2 }, (_, band) => {
    const level = 20 * Math.log10(Math.hypot(real[band] ?? 0, imaginary[band] ?? 0) / full + 1e-9);
    return Math.max(0, Math.min(1, 1 - level / FLOOR_DB));
  });
}

/** In place; the length is a power of two. */
export function transform(real: Float32Array, imaginary: Float32Array): void {
  const size = real.length;
  for (let at = 1, mirror = 0; at < size; at += 1) {
    let bit = size >> 1;
    for (; mirror & bit; bit >>= 1) mirror ^= bit;
    mirror ^= bit;
    if (at < mirror) {
      swap(real, at, mirror);
      swap(imaginary, at, mirror);
    }
  }
  for (let half = 1; half < size; half *= 2) {
    for (let start = 0; start < size; start += 2 * half) {
      for (let at = 0; at < half; at += 1) butterfly(real, imaginary, start + at, start + at + half, (-Math.PI * at) / half);
    }
  }
}

function swap(values: Float32Array, one: number, other: number): void {
  const kept = values[one] ?? 0;
  values[one] = values[other] ?? 0;
  values[other] = kept;
}

function butterfly(real: Float32Array, imaginary: Float32Array, low: number, high: number, angle: number): void {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [a, b] = [real[high] ?? 0, imaginary[high] ?? 0];
  const [turnedReal, turnedImaginary] = [a * cos - b * sin, a * sin + b * cos];
  real[high] = (real[low] ?? 0) - turnedReal;
  imaginary[high] = (imaginary[low] ?? 0) - turnedImaginary;
  real[low] = (real[low] ?? 0) + turnedReal;
  imaginary[low] = (imaginary[low] ?? 0) + turnedImaginary;
}
