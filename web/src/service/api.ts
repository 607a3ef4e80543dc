/** The service's HTTP interface as this page uses it. */

import { recall, remember } from '../settings/memory';
import { Problem } from './problem';
import type { Curve, Detection, Health, ListedModel, OfferedOptions, OptionValues } from './types';

const KEY = 'vad.key';
/** The page is at `<root>/ui/`; the service may stand behind a proxy's path prefix. */
const ROOT = new URL('../', document.baseURI);

export function apiKey(): string {
  return recall('sessionStorage', KEY) ?? '';
}

export function setApiKey(key: string): void {
  remember('sessionStorage', KEY, key);
}

/** Absolute address of a path of the service, with options in the query. */
export function address(path: string, query: OptionValues = {}): string {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return url.href;
}

/** The WebSocket's address; browsers send no headers with it, so the key goes into the query. */
export function socketAddress(path: string, query: OptionValues): string {
  const key = apiKey();
  const url = new URL(address(path, key ? { ...query, api_key: key } : query));
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

async function ask(path: string, query: OptionValues = {}, init: RequestInit = {}): Promise<Response> {
  const key = apiKey();
  const headers: HeadersInit = { ...(init.headers as Record<string, string>), ...(key ? { 'X-API-Key': key } : {}) };
  let response: Response;
  try {
    response = await fetch(address(path, query), { ...init, headers, cache: 'no-store' });
  } catch {
    throw Problem.own('network');
  }
  if (!response.ok) throw await Problem.of(response);
  return response;
}

async function json<T>(path: string, query: OptionValues = {}): Promise<T> {
  return (await (await ask(path, query)).json()) as T;
}

export async function listModels(): Promise<ListedModel[]> {
  return (await json<{ models: ListedModel[] }>('models')).models;
}

export function offeredOptions(): Promise<OfferedOptions> {
  return json('options');
}

/** The segments that a kept analysis gives under these options. */
export function segmentsOf(id: string, options: OptionValues): Promise<Detection> {
  return json(`analyses/${id}/segments`, { ...options, format: 'json' });
}

/** The same in another form. */
export async function exported(id: string, format: string, options: OptionValues): Promise<Blob> {
  return (await ask(`analyses/${id}/segments`, { ...options, format })).blob();
}

/** Given segments in a text format. */
export async function rendered(document: unknown, query: OptionValues): Promise<Blob> {
  const headers = { 'Content-Type': 'application/json' };
  return (await ask('render', query, { method: 'POST', body: JSON.stringify(document), headers })).blob();
}

export function curveOf(id: string, points: number, startMs?: number, endMs?: number): Promise<Curve> {
  const query: OptionValues = { points };
  if (startMs !== undefined) query.start_ms = startMs;
  if (endMs !== undefined) query.end_ms = endMs;
  return json(`analyses/${id}/curve`, query);
}

/** Something to try, and what the service says that it is. */
export async function sample(): Promise<{ file: File; origin: string }> {
  const response = await ask('sample.wav');
  return {
    file: new File([await response.blob()], 'sample.wav', { type: 'audio/wav' }),
    origin: response.headers.get('X-VAD-Sample') ?? '',
  };
}

/** State of the service; also when it is not ready, which it says with 503. */
export async function health(): Promise<Health> {
  try {
    return (await (await fetch(address('health'), { cache: 'no-store' })).json()) as Health;
  } catch {
    throw Problem.own('network');
  }
}

/** Why the service would not serve this page at present; null where it would. */
export async function refusal(): Promise<Problem | null> {
  try {
    await ask('analyses/none/segments');
  } catch (error) {
    const problem = Problem.from(error);
    return problem.code === 'no_such_analysis' ? null : problem;
  }
  return null;
}
