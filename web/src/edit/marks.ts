/**
 * Segments corrected by hand, and what can be done to them: pure functions from marks to marks, sorted by start.
 *
 * Marks of one channel and label never overlap and are never shorter than `LEAST_MS`; what would make them so is cut
 * to what fits, or leaves them as they are.
 */

import type { Segment } from '../service/types';

export interface Mark {
  /** Of this editing; tells marks apart while their times change. */
  readonly id: number;
  readonly start_ms: number;
  readonly end_ms: number;
  /** Null: speech. */
  readonly label: string | null;
  /** Null: of all channels together. */
  readonly channel: number | null;
}

export type Edge = 'start' | 'end';

/** A frame of most models: nothing shorter is told by any of them. */
export const LEAST_MS = 10;
/** Characters of a label, as the service takes it. */
export const LONGEST_LABEL = 64;

let lastId = 0;

export function newMark(start_ms: number, end_ms: number, label: string | null, channel: number | null): Mark {
  lastId += 1;
  return { id: lastId, start_ms: Math.round(start_ms), end_ms: Math.round(end_ms), label, channel };
}

export function marksOf(segments: readonly Segment[]): Mark[] {
  return segments.map(({ start_ms, end_ms, label, channel }) => newMark(start_ms, end_ms, label ?? null, channel ?? null));
}

/** A label in one line; null where it says no more than `speech`. */
export function cleanLabel(text: string): string | null {
  const label = text
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, LONGEST_LABEL);
  return label === '' || label === 'speech' ? null : label;
}

function sameLane(one: Mark, other: Mark): boolean {
  return one.label === other.label && one.channel === other.channel;
}

function inOrder(marks: readonly Mark[]): Mark[] {
  return [...marks].sort((one, other) => one.start_ms - other.start_ms || one.end_ms - other.end_ms);
}

/** How far a mark may reach without meeting another of its lane. */
function room(marks: readonly Mark[], mark: Mark, durationMs: number): { fromMs: number; toMs: number } {
  let [fromMs, toMs] = [0, durationMs];
  for (const other of marks) {
    if (other.id === mark.id || !sameLane(other, mark)) continue;
    if (other.start_ms < mark.start_ms) fromMs = Math.max(fromMs, other.end_ms);
    else toMs = Math.min(toMs, other.start_ms);
  }
  return { fromMs, toMs };
}

export function moveEdge(marks: readonly Mark[], id: number, edge: Edge, ms: number, durationMs: number): Mark[] {
  const mark = marks.find((one) => one.id === id);
  if (!mark) return [...marks];
  const { fromMs, toMs } = room(marks, mark, durationMs);
  const at = Math.round(ms);
  const moved =
    edge === 'start'
      ? { ...mark, start_ms: Math.max(fromMs, Math.min(at, mark.end_ms - LEAST_MS)) }
      : { ...mark, end_ms: Math.min(toMs, Math.max(at, mark.start_ms + LEAST_MS)) };
  return inOrder(marks.map((one) => (one.id === id ? moved : one)));
}

/** Adds a mark, cut to the room there is around its start; the same marks where there is none. */
export function addMark(marks: readonly Mark[], mark: Mark, durationMs: number): Mark[] {
  const taken = marks.some((one) => sameLane(one, mark) && one.start_ms <= mark.start_ms && mark.start_ms < one.end_ms);
  if (taken) return [...marks];
  const { fromMs, toMs } = room(marks, mark, durationMs);
  const cut = { ...mark, start_ms: Math.max(fromMs, mark.start_ms), end_ms: Math.min(toMs, mark.end_ms) };
  return cut.end_ms - cut.start_ms < LEAST_MS ? [...marks] : inOrder([...marks, cut]);
}

export function removeMark(marks: readonly Mark[], id: number): Mark[] {
  return marks.filter((one) => one.id !== id);
}

/** In two at a moment inside it. */
export function splitMark(marks: readonly Mark[], id: number, ms: number): Mark[] {
  const at = Math.round(ms);
  return marks.flatMap((one) => {
    if (one.id !== id || at - one.start_ms < LEAST_MS || one.end_ms - at < LEAST_MS) return [one];
    return [{ ...one, end_ms: at }, newMark(at, one.end_ms, one.label, one.channel)];
  });
}

/** With the next one of its lane, and the pause between them. */
export function mergeWithNext(marks: readonly Mark[], id: number): Mark[] {
  const place = marks.findIndex((one) => one.id === id);
  const mark = marks[place];
  const next = mark && marks.slice(place + 1).find((one) => sameLane(one, mark));
  if (!mark || !next) return [...marks];
  return marks.filter((one) => one !== next).map((one) => (one === mark ? { ...one, end_ms: Math.max(one.end_ms, next.end_ms) } : one));
}

/** Another label; null where a mark of that label is in the way. */
export function relabel(marks: readonly Mark[], id: number, text: string): Mark[] | null {
  const mark = marks.find((one) => one.id === id);
  if (!mark) return [...marks];
  const renamed = { ...mark, label: cleanLabel(text) };
  const blocked = marks.some(
    (one) => one.id !== id && sameLane(one, renamed) && one.start_ms < renamed.end_ms && renamed.start_ms < one.end_ms,
  );
  return blocked ? null : marks.map((one) => (one.id === id ? renamed : one));
}
