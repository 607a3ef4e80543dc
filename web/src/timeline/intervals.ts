/** Sets of moments as sorted stretches that neither touch nor overlap; what two of them share, and how well they agree. */

export interface Extent {
  readonly start_ms: number;
  readonly end_ms: number;
}

/** Sorted, with what touches or overlaps joined. */
export function union(extents: readonly Extent[]): Extent[] {
  const joined: { start_ms: number; end_ms: number }[] = [];
  for (const { start_ms, end_ms } of [...extents].sort((one, other) => one.start_ms - other.start_ms)) {
    const last = joined[joined.length - 1];
    if (last && start_ms <= last.end_ms) last.end_ms = Math.max(last.end_ms, end_ms);
    else if (end_ms > start_ms) joined.push({ start_ms, end_ms });
  }
  return joined;
}

/** What is in both of two unions. */
export function intersection(one: readonly Extent[], other: readonly Extent[]): Extent[] {
  const shared: Extent[] = [];
  let [i, j] = [0, 0];
  while (i < one.length && j < other.length) {
    const [a, b] = [one[i] as Extent, other[j] as Extent];
    const [start_ms, end_ms] = [Math.max(a.start_ms, b.start_ms), Math.min(a.end_ms, b.end_ms)];
    if (end_ms > start_ms) shared.push({ start_ms, end_ms });
    if (a.end_ms < b.end_ms) i += 1;
    else j += 1;
  }
  return shared;
}

/** What is in the first of two unions and not in the second. */
export function difference(one: readonly Extent[], other: readonly Extent[]): Extent[] {
  const left: Extent[] = [];
  let j = 0;
  for (const { start_ms, end_ms } of one) {
    let from = start_ms;
    while (j < other.length && (other[j] as Extent).end_ms <= from) j += 1;
    for (let at = j; at < other.length && (other[at] as Extent).start_ms < end_ms; at += 1) {
      const taken = other[at] as Extent;
      if (taken.start_ms > from) left.push({ start_ms: from, end_ms: taken.start_ms });
      from = Math.max(from, taken.end_ms);
    }
    if (from < end_ms) left.push({ start_ms: from, end_ms });
  }
  return left;
}

export function totalMs(extents: readonly Extent[]): number {
  return extents.reduce((sum, { start_ms, end_ms }) => sum + end_ms - start_ms, 0);
}

/** Two answers laid over each other. */
export interface Comparison {
  readonly onlyA: Extent[];
  readonly onlyB: Extent[];
  readonly bothMs: number;
  readonly onlyAMs: number;
  readonly onlyBMs: number;
  /** Share of the time in which they say the same, 0 to 1. */
  readonly agreement: number;
}

export function compare(a: readonly Extent[], b: readonly Extent[], durationMs: number): Comparison {
  const [one, other] = [union(a), union(b)];
  const [onlyA, onlyB] = [difference(one, other), difference(other, one)];
  const [onlyAMs, onlyBMs] = [totalMs(onlyA), totalMs(onlyB)];
  const agreement = durationMs > 0 ? 1 - (onlyAMs + onlyBMs) / durationMs : 1;
  return { onlyA, onlyB, bothMs: totalMs(intersection(one, other)), onlyAMs, onlyBMs, agreement };
}

/** A detector's segments measured by corrected ones, which are held to be right. */
export interface Score {
  /** Harmonic mean of precision and recall over time, 0 to 1: the frame F1 at frames of 1 ms. */
  readonly f1: number;
  readonly missedMs: number;
  readonly falseMs: number;
  /** Right segments of which nothing was found. */
  readonly missed: number;
  /** Found segments in which nothing is right. */
  readonly false: number;
}

export function score(right: readonly Extent[], found: readonly Extent[]): Score {
  const [truth, claim] = [union(right), union(found)];
  const bothMs = totalMs(intersection(truth, claim));
  const [truthMs, claimMs] = [totalMs(truth), totalMs(claim)];
  const f1 = truthMs + claimMs > 0 ? (2 * bothMs) / (truthMs + claimMs) : 1;
  return { f1, missedMs: truthMs - bothMs, falseMs: claimMs - bothMs, missed: alone(truth, claim), false: alone(claim, truth) };
}

/** How many of a union share nothing with another one: one walk along both, because it is asked with every frame of a drag. */
function alone(extents: readonly Extent[], among: readonly Extent[]): number {
  let at = 0;
  let count = 0;
  for (const { start_ms, end_ms } of extents) {
    while (at < among.length && (among[at] as Extent).end_ms <= start_ms) at += 1;
    const next = among[at];
    if (!next || next.start_ms >= end_ms) count += 1;
  }
  return count;
}
