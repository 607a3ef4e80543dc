import { describe, expect, it } from 'vitest';
import { compare, difference, type Extent, intersection, score, totalMs, union } from '../src/timeline/intervals';

const extent = (start_ms: number, end_ms: number): Extent => ({ start_ms, end_ms });

/** Random, but the same each time. */
function scattered(seed: number, count: number): Extent[] {
  let state = seed;
  const next = (most: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % most;
  };
  return Array.from({ length: count }, () => {
    const start = next(1000);
    return extent(start, start + next(60));
  });
}

/** Moment by moment: slow, and plain enough to be right. */
function moments(extents: readonly Extent[]): Set<number> {
  const found = new Set<number>();
  for (const { start_ms, end_ms } of extents) for (let ms = start_ms; ms < end_ms; ms += 1) found.add(ms);
  return found;
}

describe('stretches of time', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('are joined, shared and taken away as sets of moments are (%i)', (seed) => {
    const [one, other] = [scattered(seed, 12), scattered(seed + 100, 9)];
    const [a, b] = [moments(one), moments(other)];
    expect(moments(union(one))).toEqual(a);
    expect(moments(intersection(union(one), union(other)))).toEqual(new Set([...a].filter((ms) => b.has(ms))));
    expect(moments(difference(union(one), union(other)))).toEqual(new Set([...a].filter((ms) => !b.has(ms))));
    expect(totalMs(union(one))).toBe(a.size);
  });

  it('touch without being two', () => {
    expect(union([extent(5, 9), extent(0, 5), extent(20, 20)])).toEqual([extent(0, 9)]);
  });
});

describe('two answers', () => {
  it('are summed', () => {
    const found = compare([extent(0, 400), extent(600, 900)], [extent(100, 500), extent(600, 900)], 1000);
    expect(found.onlyA).toEqual([extent(0, 100)]);
    expect(found.onlyB).toEqual([extent(400, 500)]);
    expect([found.bothMs, found.onlyAMs, found.onlyBMs]).toEqual([600, 100, 100]);
    expect(found.agreement).toBeCloseTo(0.8);
  });

  it('agree where both are empty', () => {
    expect(compare([], [], 0).agreement).toBe(1);
  });
});

describe('a detector measured by corrected segments', () => {
  it('has an F1 over time, misses and false alarms', () => {
    const right = [extent(0, 1000), extent(2000, 3000), extent(5000, 5100)];
    const found = [extent(100, 1000), extent(2000, 3200), extent(8000, 8050)];
    const { f1, missedMs, falseMs, missed, false: falsely } = score(right, found);
    expect([missedMs, falseMs, missed, falsely]).toEqual([200, 250, 1, 1]);
    expect(f1).toBeCloseTo((2 * 1900) / (2100 + 2150));
  });

  it('is perfect where nothing was to be found and nothing was', () => {
    expect(score([], []).f1).toBe(1);
  });
});
