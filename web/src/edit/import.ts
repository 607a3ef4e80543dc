/**
 * Segments from text files: every text form that this service writes, and the usual files of other tools. What a file
 * is, its content decides. Times are those of the file; segments without a name are speech.
 */

import { cleanLabel, type Mark, newMark } from './marks';

/** What can be read, as people call it. */
export const IMPORTED = [
  'JSON',
  'NDJSON',
  'FunASR',
  'CSV / TSV',
  'Audacity',
  'RTTM',
  'SRT',
  'WebVTT',
  'TextGrid',
  'faster-whisper',
  'whisperX',
  'Kaldi segments',
  'Lhotse',
  'Label Studio',
  'ELAN',
  'Markdown',
] as const;

/** The endings that a file picker offers for them. */
export const IMPORTED_FILES = '.json,.jsonl,.ndjson,.csv,.tsv,.txt,.rttm,.srt,.vtt,.TextGrid,.textgrid,.segments,segments,.eaf,.md';

/** The file is of none of these kinds, or holds no segment. */
export class NothingToImport extends Error {}

/** Throws `NothingToImport`. */
export function importMarks(text: string): Mark[] {
  const plain = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const marks = readerOf(plain)(plain).filter(({ start_ms, end_ms }) => Number.isFinite(start_ms) && end_ms > start_ms);
  if (marks.length === 0) throw new NothingToImport();
  return marks.sort((one, other) => one.start_ms - other.start_ms);
}

function readerOf(text: string): (text: string) => Mark[] {
  if (/^\s*[[{]/.test(text)) return fromJson;
  if (/^\s*</.test(text)) return fromElan;
  if (/ooTextFile/.test(text)) return fromTextGrid;
  if (/-->/.test(text)) return fromCues;
  if (/^\s*\|/.test(text)) return fromMarkdown;
  if (COLUMNS.start.test(text.split('\n', 1)[0] ?? '')) return fromTable;
  return fromLines;
}

/** `anna_ch0`, as the service names a channel's tracks, is a label and a place. */
function mark(startS: number, endS: number, name: string, channel: number | null = null): Mark {
  const [, label = name, number] = /^(.*?)[_-]ch(\d+)$/.exec(name) ?? [];
  return newMark(startS * 1000, endS * 1000, cleanLabel(label), number === undefined ? channel : Number(number));
}

/** Audacity has tabs between start, end and label; RTTM ten fields; Kaldi's segments two names and two times. */
function fromLines(text: string): Mark[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    if (fields[0] === 'SPEAKER') {
      const [start, length] = [Number(fields[3]), Number(fields[4])];
      return [mark(start, start + length, fields[7] ?? '')];
    }
    if (fields.length === 4 && !NUMBER.test(fields[0] ?? '') && NUMBER.test(fields[2] ?? '') && NUMBER.test(fields[3] ?? '')) {
      const channel = /-ch(\d+)$/.exec(fields[1] ?? '')?.[1];
      return [mark(Number(fields[2]), Number(fields[3]), '', channel === undefined ? null : Number(channel))];
    }
    const [start, end, ...label] = line.split('\t');
    // Lines that begin with a backslash give the frequencies of the label before.
    if (start === undefined || end === undefined || !/^\s*\d/.test(start)) return [];
    return [mark(Number(start.replace(',', '.')), Number(end.replace(',', '.')), label.join(' ').trim())];
  });
}

const NUMBER = /^\d+(?:\.\d+)?$/;

/** SubRip and WebVTT: a line of times, then lines of text up to an empty one. */
function fromCues(text: string): Mark[] {
  const cues = text.matchAll(/^ *((?:\d+:)?\d+:\d+[.,]\d+) +--> +((?:\d+:)?\d+:\d+[.,]\d+).*\n?((?:.+\n?)*)/gm);
  return [...cues].map(([, start = '', end = '', words = '']) => {
    const said = words.trim().replaceAll('\n', ' ');
    const [, label = said, channel] = /^(.*) \(channel (\d+)\)$/.exec(said) ?? [];
    return mark(clockS(start), clockS(end), label, channel === undefined ? null : Number(channel));
  });
}

function clockS(text: string): number {
  return text.split(':').reduce((sum, part) => sum * 60 + Number(part.replace(',', '.')), 0);
}

/** Of a header line, in the words of this service and of others; times are seconds where it does not say ms. */
const COLUMNS = {
  start: /(?:^|[,;\t|"])\s*(?:start|begin|onset|tmin|start[_ ]?ms|start[_ ]?time|开始时间)\s*(?:["|,;\t]|$)/i,
  end: /^(?:end|offset|stop|tmax|end[_ ]?ms|end[_ ]?time|结束时间)$/i,
  label: /^(?:label|speaker|name|text|类别)$/i,
  channel: /^(?:channel|声道)$/i,
};

function fromTable(text: string): Mark[] {
  const head = text.split('\n', 1)[0] ?? '';
  const separator = ['\t', ';', ','].find((one) => head.includes(one)) ?? ',';
  return fromCells(text.split('\n').map((line) => cells(line, separator)));
}

/** One line of a table whose cells may be quoted. */
function cells(line: string, separator: string): string[] {
  const found = line.matchAll(new RegExp(`(?:^|${separator})(?:"((?:[^"]|"")*)"|([^${separator}]*))`, 'g'));
  return [...found].map(([, quoted, bare = '']) => (quoted === undefined ? bare : quoted.replaceAll('""', '"')).trim());
}

function fromMarkdown(text: string): Mark[] {
  const rows = text.split('\n').filter((line) => /^\s*\|/.test(line) && !/^[\s|:-]+$/.test(line));
  return fromCells(
    rows.map((row) =>
      row
        .trim()
        .replace(/^\||\|$/g, '')
        .split('|')
        .map((cell) => cell.trim()),
    ),
  );
}

function fromCells([head = [], ...rows]: string[][]): Mark[] {
  const place = (pattern: RegExp): number => head.findIndex((name) => pattern.test(name));
  const columns = { start: place(COLUMNS.start), end: place(COLUMNS.end), label: -1, channel: place(COLUMNS.channel) };
  // A table of several files has their names first, and labels by that word.
  columns.label = head.some((name) => /^(?:label|类别)$/i.test(name)) ? place(/^(?:label|类别)$/i) : place(COLUMNS.label);
  const unit = /ms$/i.test(head[columns.start] ?? '') ? 1000 : 1;
  const seconds = (cell = ''): number => (/^[\d.]+s?$/.test(cell) ? Number.parseFloat(cell) / unit : clockS(cell));
  return rows.flatMap((row) => {
    if (row.length <= Math.max(columns.start, columns.end)) return [];
    const channel = row[columns.channel];
    const number = channel === undefined || channel === '' ? null : Number(channel);
    return [mark(seconds(row[columns.start]), seconds(row[columns.end]), row[columns.label] ?? '', number)];
  });
}

/** Annotations of a tier point to slots of time; a tier that is named for a channel says which one. */
function fromElan(text: string): Mark[] {
  const document = new DOMParser().parseFromString(text, 'application/xml');
  const slots = new Map(
    [...document.querySelectorAll('TIME_SLOT')].map((slot) => [slot.getAttribute('TIME_SLOT_ID'), Number(slot.getAttribute('TIME_VALUE'))]),
  );
  return [...document.querySelectorAll('ALIGNABLE_ANNOTATION')].map((annotation) => {
    const at = (name: string): number => (slots.get(annotation.getAttribute(name)) ?? Number.NaN) / 1000;
    const tier = annotation.closest('TIER')?.getAttribute('TIER_ID') ?? '';
    const label = annotation.querySelector('ANNOTATION_VALUE')?.textContent ?? '';
    return mark(at('TIME_SLOT_REF1'), at('TIME_SLOT_REF2'), named(tier, label));
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

/** Whatever JSON documents say of a stretch; which of it is there tells what kind of document it is. */
interface Stretch {
  start_ms?: number;
  end_ms?: number;
  start?: number;
  end?: number;
  duration?: number;
  label?: string;
  labels?: string[];
  speaker?: string;
  channel?: number | null;
}

/** An entry of a list: a task of Label Studio, a file of FunASR, a chunk of whisperX, or a stretch itself. */
interface Entry extends Stretch {
  annotations?: { result?: { value?: Stretch }[] }[];
  predictions?: { result?: { value?: Stretch }[] }[];
  key?: string;
  value?: [number, number][];
  segments?: Stretch[] | [number, number][];
}

function fromJson(text: string): Mark[] {
  let documents: unknown[];
  try {
    documents = [JSON.parse(text)];
  } catch {
    documents = jsonLines(text);
  }
  return documents.flatMap((document) => {
    if (!Array.isArray(document)) return fromEntry(document as Entry);
    if (document.every((one) => typeof one === 'number')) return fromPairs(document);
    return (document as Entry[]).flatMap(fromEntry);
  });
}

/** NDJSON, Lhotse's supervisions: a document a line. */
function jsonLines(text: string): unknown[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line.trim() === '' ? [] : [JSON.parse(line)];
    } catch {
      throw new NothingToImport();
    }
  });
}

/** Starts and ends by turns, in seconds. */
function fromPairs(times: number[]): Mark[] {
  return times.flatMap((start, at) => (at % 2 === 0 ? [mark(start, times[at + 1] ?? Number.NaN, '')] : []));
}

function fromEntry(entry: Entry): Mark[] {
  if (entry.annotations || entry.predictions) {
    // What a person has said goes before what a model has.
    const results = [...(entry.annotations ?? []), ...(entry.predictions ?? [])].find(({ result }) => result?.length)?.result ?? [];
    return results.flatMap(({ value }) => fromStretch(value ?? {}));
  }
  if (entry.value) {
    const [, channel, label] = /-ch(\d+)(?:-(.+))?$/.exec(entry.key ?? '') ?? [];
    const number = channel === undefined ? null : Number(channel);
    return entry.value.map(([start, end]) => mark(start / 1000, end / 1000, label ?? '', number));
  }
  if (!entry.segments) return fromStretch(entry);
  return entry.segments.flatMap((one) => (Array.isArray(one) ? [mark(one[0], one[1], '')] : fromStretch(one)));
}

function fromStretch(one: Stretch): Mark[] {
  const name = one.label ?? one.labels?.[0] ?? one.speaker ?? '';
  if (one.start_ms !== undefined && one.end_ms !== undefined) {
    return [mark(one.start_ms / 1000, one.end_ms / 1000, name, one.channel ?? null)];
  }
  if (one.start === undefined) return [];
  const end = one.end ?? one.start + (one.duration ?? Number.NaN);
  return [mark(one.start, end, name, one.channel ?? null)];
}
