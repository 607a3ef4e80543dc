import { describe, expect, it } from 'vitest';
import { clock, milliseconds } from '../src/timeline/time';
import { focused, isWhole, msAt, resized, revealed, scrolled, spanOf, tickStep, wholeView, xOf, zoomed } from '../src/timeline/viewport';

const hour = wholeView(3_600_000, 1000);

describe('a view', () => {
  it('keeps the moment under the pointer where it is', () => {
    const at = msAt(hour, 700);
    const closer = zoomed(zoomed(hour, 4, at), 3, at);
    expect(xOf(closer, at)).toBeCloseTo(700);
    expect(spanOf(closer)).toBeCloseTo(300_000);
  });

  it('stays within what there is', () => {
    expect(scrolled(zoomed(hour, 10, 0), -5000).startMs).toBe(0);
    const end = scrolled(zoomed(hour, 10, 0), 9e9);
    expect(end.endMs).toBeCloseTo(3_600_000);
    expect(isWhole(zoomed(hour, 0.01, 5))).toBe(true);
  });

  it('comes no closer than two pixels a millisecond', () => {
    expect(spanOf(zoomed(hour, 1e9, 1000))).toBe(500);
    expect(spanOf(zoomed(wholeView(100, 1000), 4, 50))).toBe(100);
  });

  it('shows a segment with a margin', () => {
    const view = focused(hour, { startMs: 10_000, endMs: 20_000 });
    expect([view.startMs, view.endMs]).toEqual([9000, 21_000]);
  });

  it('follows what goes out of sight, and nothing else', () => {
    const view = zoomed(hour, 60, 0);
    expect(revealed(view, 30_000)).toBe(view);
    expect(revealed(view, 120_000).startMs).toBe(105_000);
  });

  it('of all stays of all when the window gets another width', () => {
    expect(resized(hour, 500)).toEqual(wholeView(3_600_000, 500));
    expect(spanOf(resized(zoomed(hour, 60, 0), 500))).toBeCloseTo(60_000);
  });

  it('has marks that their labels have room between', () => {
    expect(tickStep(hour, 76)).toBe(300_000);
    expect(tickStep(zoomed(hour, 1e9, 0), 76)).toBe(50);
  });
});

describe('times', () => {
  it.each([0, 1, 999, 61_001, 3_723_456])('are written and read back: %i', (ms) => {
    expect(milliseconds(clock(ms))).toBe(ms);
  });

  it('are read as people type them', () => {
    expect(['3,5', '2:03.4', '1:02:03', 'x', '1:2:3:4', ''].map(milliseconds)).toEqual([3500, 123_400, 3_723_000, null, null, null]);
  });
});
