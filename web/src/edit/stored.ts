/** Corrections that have not been taken away yet, kept in the browser: times and labels, never sound. */

import { forget, recall, remember } from '../settings/memory';
import { type Mark, newMark } from './marks';

const PREFIX = 'vad.marks.';

/** What tells a file from others, as far as a browser says. */
export function keyOf({ name, size, lastModified }: File): string {
  return `${PREFIX}${name}|${size}|${lastModified}`;
}

export function storeMarks(key: string, marks: readonly Mark[]): void {
  remember('localStorage', key, JSON.stringify(marks.map(({ start_ms, end_ms, label, channel }) => [start_ms, end_ms, label, channel])));
}

export function storedMarks(key: string): Mark[] | null {
  try {
    const kept = JSON.parse(recall('localStorage', key) ?? 'null') as [number, number, string | null, number | null][] | null;
    return kept?.map(([start, end, label, channel]) => newMark(start, end, label, channel)) ?? null;
  } catch {
    return null;
  }
}

export function forgetMarks(key: string): void {
  forget('localStorage', key);
}
