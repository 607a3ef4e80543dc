/**
 * Segments from other tools' files: Audacity's labels, RTTM, Praat's TextGrid, Label Studio's JSON, and this service's
 * own JSON. What a file is, its content decides.
 */

import { cleanLabel, type Mark, newMark } from './marks';

/** The file is of none of these kinds, or holds no segment. */
export class NothingToImport extends Error {}

/** Throws `NothingToImport`. */
export function importMarks(text: string): Mark[] {
  const plain = text.replace(/^\uFEFF/, '');
  const read = /^\s*[[{]/.test(plain) ? fromJson : /ooTextFile/.test(plain) ? fromTextGrid : fromLines;
  const marks = read(plain).filter(({ start_ms, end_ms }) => Number.isFinite(start_ms) && end_ms > start_ms);
  if (marks.length === 0) throw new NothingToImport();
  return marks.sort((one, other) => one.start_ms - other.start_ms);
}

/** `speech_ch0`, as the service names what it tells of a channel, is no label but a place. */
function mark(startS: number, endS: number, name: string, channel: number | null = null): Mark {
  const [, label = name, told] = /^(.*)_ch(\d+)$/.exec(name) ?? [];
  return newMark(startS * 1000, endS * 1000, cleanLabel(label), told === undefined ? channel : Number(told));
}

/** Of Audacity, tabs between start, end and label; of RTTM, spaces between ten fields. */
function fromLines(text: string): Mark[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    if (fields[0] === 'SPEAKER') {
      const [start, length] = [Number(fields[3]), Number(fields[4])];
      return [mark(start, start + length, fields[7] ?? '')];
    }
    const [start, end, ...label] = line.split('\t');
    // Lines that begin with a backslash give the frequencies of the label before.
    if (start === undefined || end === undefined || !/^\s*\d/.test(start)) return [];
    return [mark(Number(start.replace(',', '.')), Number(end.replace(',', '.')), label.join(' ').trim())];
  });
}

/** Numbers and quoted texts in their order are all that the long and the short form have in common. */
function fromTextGrid(text: string): Mark[] {
  const body = text.replace(/^[\s\S]*?<exists>/, '');
  const tokens = body
    .replace(/(item|intervals|points) *\[\d*\]:?/g, ' ')
    .matchAll(/"((?:[^"]|"")*)"|(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])/g);
  const values = [...tokens].map(([whole, quoted]) => (quoted === undefined ? Number(whole) : quoted.replaceAll('""', '"')));
  const marks: Mark[] = [];
  let at = 0;
  const next = (): string | number => values[at++] ?? '';
  const tiers = Number(next());
  for (let tier = 0; tier < tiers; tier += 1) {
    const [kind, name] = [next(), String(next())];
    next();
    next();
    const count = Number(next());
    for (let item = 0; item < count; item += 1) {
      const start = Number(next());
      const end = kind === 'IntervalTier' ? Number(next()) : start;
      const label = String(next());
      if (label.trim() !== '') marks.push(mark(start, end, named(name, label)));
    }
  }
  return marks;
}

/** A tier that is named for a channel says which one. */
function named(tier: string, label: string): string {
  const channel = /_ch\d+$/.exec(tier)?.[0] ?? '';
  return label + channel;
}

interface Region {
  value?: { start?: number; end?: number; labels?: string[]; channel?: number };
}
interface Task {
  annotations?: { result?: Region[] }[];
  predictions?: { result?: Region[] }[];
  value?: [number, number][];
}
interface Own {
  segments?: { start_ms: number; end_ms: number; label?: string; channel?: number }[];
}

function fromJson(text: string): Mark[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new NothingToImport();
  }
  if (!Array.isArray(document)) return fromOwn(document as Own);
  return (document as Task[]).flatMap((task) => {
    if (Array.isArray(task.value)) return task.value.map(([start, end]) => newMark(start, end, null, null));
    // What a person has said goes before what a model has.
    const results = [...(task.annotations ?? []), ...(task.predictions ?? [])].find(({ result }) => result?.length)?.result ?? [];
    return results.flatMap(({ value }) => {
      if (value?.start === undefined || value.end === undefined) return [];
      return [mark(value.start, value.end, value.labels?.[0] ?? '', value.channel ?? null)];
    });
  });
}

function fromOwn({ segments }: Own): Mark[] {
  return (segments ?? []).map((one) => newMark(one.start_ms, one.end_ms, cleanLabel(one.label ?? ''), one.channel ?? null));
}
