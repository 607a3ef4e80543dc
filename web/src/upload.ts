/** `POST /vad` with progress in both directions: of the upload, and of the detection as its lines come in. */

import { address, apiKey, Problem, type OptionValues, type Segment, type Summary } from './api';

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
  | { type: 'progress'; done_ms: number; expected_ms: number | null }
  | ({ type: 'summary' } & Summary)
  | { type: 'error'; title: string; detail: string; code: string; status: number; option?: string };

/** Detection told line by line; the scores are kept, so that other options need no second upload. */
export function detect(file: File, options: OptionValues, progress: Progress): Upload<Summary & { segments: Segment[] }> {
  const lines = new Lines();
  const read = (request: XMLHttpRequest): void => {
    if (request.status !== 200) return;
    lines.read(request.responseText);
    progress.found(lines.segments, lines.doneMs, lines.expectedMs);
  };
  const request = new XMLHttpRequest();
  const finish = (): Summary & { segments: Segment[] } => {
    read(request);
    if (lines.problem) throw lines.problem;
    if (!lines.summary) throw Problem.network();
    return { ...lines.summary, segments: lines.segments };
  };
  request.addEventListener('progress', () => read(request));
  const query = { ...options, format: 'ndjson', keep: true };
  return send(request, query, file, progress.uploaded.bind(progress), finish, () => progress.found([], 0, null));
}

/** An answer that needs the audio itself. */
export function excerpt(file: File, options: OptionValues, format: string, uploaded: Progress['uploaded']): Upload<Blob> {
  const request = new XMLHttpRequest();
  request.responseType = 'blob';
  return send(request, { ...options, format }, file, uploaded, () => request.response as Blob, () => undefined);
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
    request.addEventListener('load', () => {
      if (request.status === 200) {
        try {
          resolve(finish());
        } catch (error) {
          reject(error);
        }
      } else {
        void answerText(request).then((text) => reject(Problem.fromText(text, request.status, request.statusText)));
      }
    });
  });
  request.open('POST', address('vad', query));
  if (apiKey()) request.setRequestHeader('X-API-Key', apiKey());
  const form = new FormData();
  form.append('file', file, file.name);
  request.send(form);
  return { result, cancel: () => request.abort() };
}

/** Browsers tell a file that cannot be read any more and a service that cannot be reached with the same event. */
async function whyUnsent(file: File): Promise<Problem> {
  try {
    const reader = file.stream().getReader();
    await reader.read();
    await reader.cancel();
    return Problem.network();
  } catch {
    return new Problem('', '', 'unreadable', 0);
  }
}

async function answerText(request: XMLHttpRequest): Promise<string> {
  return request.responseType === 'blob' ? (request.response as Blob).text() : request.responseText;
}

/** Reads lines of a text that grows. */
class Lines {
  readonly segments: Segment[] = [];
  doneMs = 0;
  expectedMs: number | null = null;
  summary: Summary | null = null;
  problem: Problem | null = null;
  private position = 0;

  read(text: string): void {
    for (let end = text.indexOf('\n', this.position); end >= 0; end = text.indexOf('\n', this.position)) {
      this.take(JSON.parse(text.slice(this.position, end)) as Line);
      this.position = end + 1;
    }
  }

  private take(line: Line): void {
    if (line.type === 'segment') this.segments.push(line);
    else if (line.type === 'summary') this.summary = line;
    else if (line.type === 'error') this.problem = new Problem(line.title, line.detail, line.code, line.status, line.option);
    else {
      this.doneMs = line.done_ms;
      this.expectedMs = line.expected_ms;
    }
  }
}
