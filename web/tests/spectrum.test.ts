import { describe, expect, it } from 'vitest';
import { spectrumAt, transform, WINDOW } from '../src/timeline/spectrum';

describe('the transform', () => {
  it('is the discrete Fourier transform', () => {
    const samples = Float32Array.from({ length: 16 }, (_, at) => Math.sin(at) + ((at * 7) % 5) / 5);
    const [real, imaginary] = [samples.slice(), new Float32Array(16)];
    transform(real, imaginary);
    for (let band = 0; band < 16; band += 1) {
      const angle = (at: number): number => (-2 * Math.PI * band * at) / 16;
      expect(real[band]).toBeCloseTo(
        samples.reduce((sum, value, at) => sum + value * Math.cos(angle(at)), 0),
        4,
      );
      expect(imaginary[band]).toBeCloseTo(
        samples.reduce((sum, value, at) => sum + value * Math.sin(angle(at)), 0),
        4,
      );
    }
  });
});

describe('a spectrum', () => {
  it('of a full-scale tone is at the top in its band and dark elsewhere', () => {
    const samples = Float32Array.from({ length: 2048 }, (_, at) => Math.sin((2 * Math.PI * 64 * at) / WINDOW));
    const bands = spectrumAt(samples, 1024);
    expect(bands[64]).toBeCloseTo(1, 2);
    expect(bands[10]).toBeLessThan(0.2);
  });

  it('of silence is dark, at the edges of the sound too', () => {
    expect(Math.max(...spectrumAt(new Float32Array(100), 0))).toBe(0);
  });
});
