/** `POST /vad` with progress in both directions: of the upload, and of the detection as its lines come in. */

import { address, apiKey } from './api';
import { Problem } from './problem';
import type { Chunk, Detection, OptionValues, Segment } from './types';

export interface Progress {
  uploaded(doneBytes: number, totalBytes: number): void;
  /** The file has arrived; what is known of it so far. */
  found(segments: readonly Segment[], doneMs: number, expectedMs: number | null): void;
}

export interface Upload<T> {
  result: Promise<T>;
  cancel(): void;
}

type Line =
  | ({ type: 'segment' } & Segment)
  | ({ type: 'chunk' } & Chunk)
  | { type: 'progress'; done_ms: number; expected_ms: number | null }
  | ({ type: 'summary' } & Omit<Detection, 'segments'>)
  | { type: 'error'; title: string; detail: string; code: string; status: number; option?: string };

/** Detection told line by line; the scores are kept, so that other options need no second upload. */
export function detect(file: File, options: OptionValues, progress: Progress): Upload<Detection> {
  const lines = new Lines();
  const request = new XMLHttpRequest();
  const read = (): void => {
    if (request.status !== 200) return;
    lines.read(request.responseText);
    progress.found(lines.segments, lines.doneMs, lines.expectedMs);
  };
  const finish = (): Detection => {
    read();
    return lines.detection();
  };
  request.addEventListener('progress', read);
  const query = { ...options, format: 'ndjson', keep: true };
  return send(request, query, file, progress.uploaded.bind(progress), finish, () => progress.found([], 0, null));
}

/** An answer that needs the audio itself. */
export function excerpt(file: File, options: OptionValues, format: string, uploaded: Progress['uploaded']): Upload<Blob> {
  const request = new XMLHttpRequest();
  request.responseType = 'blob';
  const finish = (): Blob => request.response as Blob;
  return send(request, { ...options, format }, file, uploaded, finish, () => undefined);
}

function send<T>(
  request: XMLHttpRequest,
  query: OptionValues,
  file: File,
  uploaded: Progress['uploaded'],
  finish: () => T,
  arrived: () => void,
): Upload<T> {
  const result = new Promise<T>((resolve, reject) => {
    request.upload.addEventListener('progress', (event) => uploaded(event.loaded, event.total));
    request.upload.addEventListener('load', arrived);
    request.addEventListener('error', () => void whyUnsent(file).then(reject));
    request.addEventListener('abort', () => reject(new DOMException('cancelled', 'AbortError')));
    request.addEventListener('load', () => void answered(request, finish).then(resolve, reject));
  });
  request.open('POST', address('vad', query));
  if (apiKey()) request.setRequestHeader('X-API-Key', apiKey());
  const form = new FormData();
  form.append('file', file, file.name);
  request.send(form);
  return { result, cancel: () => request.abort() };
}

async function answered<T>(request: XMLHttpRequest, finish: () => T): Promise<T> {
  if (request.status === 200) return finish();
  const text = request.responseType === 'blob' ? await (request.response as Blob).text() : request.responseText;
  throw Problem.fromText(text, request.status, request.statusText);
}

/** Browsers tell a file that cannot be read any more and a service that cannot be reached with the same event. */
async function whyUnsent(file: File): Promise<Problem> {
  try {
    const reader = file.stream().getReader();
    await reader.read();
    await reader.cancel();
    return Problem.own('network');
  } catch {
    return Problem.own('unreadable');
  }
}

/** Reads lines of a text that grows. */
class Lines {
  readonly segments: Segment[] = [];
  doneMs = 0;
  expectedMs: number | null = null;
  private readonly chunks: Chunk[] = [];
  private summary: Omit<Detection, 'segments'> | null = null;
  private problem: Problem | null = null;
  private position = 0;

  read(text: string): void {
    for (let end = text.indexOf('\n', this.position); end >= 0; end = text.indexOf('\n', this.position)) {
      this.take(JSON.parse(text.slice(this.position, end)) as Line);
      this.position = end + 1;
    }
  }

  private take(line: Line): void {
    if (line.type === 'segment') this.segments.push(line);
    else if (line.type === 'chunk') this.chunks.push(line);
    else if (line.type === 'summary') this.summary = line;
    else if (line.type === 'error') this.problem = new Problem(line.title, line.detail, line.code, line.status, line.option);
    else if (line.type === 'progress') {
      this.doneMs = line.done_ms;
      this.expectedMs = line.expected_ms;
    }
  }

  /** The whole answer. Throws the problem that ended it, or that it has no end. */
  detection(): Detection {
    if (this.problem) throw this.problem;
    if (!this.summary) throw Problem.own('network');
    const answer: Detection = { ...this.summary, segments: this.segments };
    if (this.chunks.length > 0 || 'max_chunk_s' in this.summary.options) answer.chunks = this.chunks;
    return inOrder(answer);
  }
}

/** Numbered by start: lines come as things are found, of several channels not quite in order. */
function inOrder(answer: Detection): Detection {
  answer.segments.sort((one, other) => one.start_ms - other.start_ms || (one.channel ?? 0) - (other.channel ?? 0));
  const numbers = new Map(answer.segments.map(({ index }, place) => [index, place + 1]));
  for (const segment of answer.segments) segment.index = numbers.get(segment.index) ?? segment.index;
  for (const chunk of answer.chunks ?? []) chunk.segments = chunk.segments.map((index) => numbers.get(index) ?? index);
  return answer;
}
