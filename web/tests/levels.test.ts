import { describe, expect, it } from 'vitest';
import { Levels } from '../src/timeline/levels';

const points = Array.from({ length: 1000 }, (_, at) => ((at * 7919) % 1000) / 1000);

describe('levels', () => {
  const levels = new Levels(1000);
  levels.spread(points, 0, 1000);

  it.each([
    [0, 1000],
    [3, 4],
    [255, 257],
    [256, 512],
    [100, 900],
    [768, 1000],
  ])('tell the highest and the mean from %i to %i', (from, to) => {
    const stretch = points.slice(from, to);
    expect(levels.most(from, to)).toBeCloseTo(Math.max(...stretch), 6);
    expect(levels.mean(from, to)).toBeCloseTo(stretch.reduce((sum, one) => sum + one, 0) / stretch.length, 6);
  });

  it('follow what comes later', () => {
    const other = new Levels(600);
    other.spread([0.5], 0, 600);
    other.spread([0.1, 0.9], 200, 300);
    expect(other.most(0, 600)).toBeCloseTo(0.9);
    expect(other.most(200, 250)).toBeCloseTo(0.1);
    expect(other.mean(0, 600)).toBeCloseTo(0.5);
    expect(other.mean(5, 5)).toBe(0);
  });
});
