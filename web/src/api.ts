/** The service's HTTP interface as this page uses it. */

import { recall, remember } from './memory';

export interface Segment {
  index: number;
  start_ms: number;
  end_ms: number;
  duration_ms: number;
  forced_end: boolean;
  speech_probability: number;
  /** Of a model that tells more than speech. */
  label?: string;
}

/** A piece of the audio for a recogniser. */
export interface Chunk {
  index: number;
  start_ms: number;
  end_ms: number;
  duration_ms: number;
  /** Indexes of the segments in it. */
  segments: number[];
}

export type Value = string | number | boolean;
export type OptionValues = Record<string, Value>;

export interface Warning {
  code: string;
  detail: string;
}

/** Which model answered. */
export interface Model {
  name: string;
  id: string;
  revision: string | null;
  fingerprint: string;
}

export interface Summary {
  name: string;
  model: Model;
  degraded: boolean;
  audio: { duration_ms: number; sample_rate: number; channels: number; format: string; subtype: string; truncated: boolean };
  speech_ms: number;
  speech_ratio: number;
  /** The mode, and its options in force. */
  options: OptionValues;
  timing: { total_ms: number; rtf: number };
  /** What was odd, though it was answered. */
  warnings: Warning[];
  analysis_id?: string | null;
}

/** `chunks`: where they were asked for. */
export type Detection = Summary & { segments: Segment[]; chunks?: Chunk[] };

export interface Curve {
  frame_ms: number;
  duration_ms: number;
  probabilities: number[];
  peaks: number[];
}

export interface Health {
  status: string;
  version: string;
  device: string | null;
  /** The default one. */
  model: Model | null;
  /** Names of all that are loaded. */
  models: string[];
  /** Why another model serves than the one that was asked for. */
  fallback: string | null;
}

/** A model that can be asked for, or that is known and could be. */
export interface ListedModel {
  name: string;
  title: string;
  /** `available`: loaded at its first use. */
  state: 'loaded' | 'available' | 'absent';
  live: boolean;
  default_mode: string;
}

/** JSON Schema, as far as options need it. */
export interface Schema {
  type?: string;
  default?: Value | null;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  enum?: Value[];
  const?: Value;
  anyOf?: Schema[];
  unit?: string;
  description?: string;
}

/** What a mode's options apply to; a mode without an entry of a use takes its first one. */
export type Use = 'file' | 'live' | 'labelled';

export interface OfferedOptions {
  modes: { mode: string; use: Use; title: string; options: Record<string, Schema> }[];
  /** Of the models that are loaded; for each mode every option's value where none is given. */
  models: Record<string, { default_mode: string; use: Use; defaults: Record<string, OptionValues> }>;
  /** Of the options that pack segments into chunks, with any mode; one without a default is not in force then. */
  chunks: Record<string, Schema>;
  presets: Preset[];
  default_model: string;
}

/** A named set of settings. */
export interface Preset {
  name: string;
  title: string;
  model: string;
  live_model: string;
  mode: string;
  options: OptionValues;
}

/** An error as the service tells it, or `code: "network"` when it was not reached. */
export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    readonly code: string,
    readonly status: number,
    /** The option that is at fault, if it is one. */
    readonly option: string | null = null,
  ) {
    super(`${title}: ${detail}`);
  }

  /** Whether the same again would only be refused again: the file itself is at fault. */
  get lasting(): boolean {
    return [400, 413, 415, 422].includes(this.status) || this.code === 'unreadable';
  }

  static network(): Problem {
    return new Problem('', '', 'network', 0);
  }

  static async of(response: Response): Promise<Problem> {
    return Problem.fromText(await response.text(), response.status, response.statusText);
  }

  /** A problem document, or whatever a proxy in between has answered. */
  static fromText(text: string, status: number, phrase: string): Problem {
    try {
      const document = JSON.parse(text) as Record<string, unknown>;
      const told = (name: string, otherwise = ''): string => String(document[name] ?? otherwise);
      return new Problem(told('title', phrase), told('detail'), told('code'), status, told('option') || null);
    } catch {
      return new Problem(`${status} ${phrase}`, text.slice(0, 200), '', status);
    }
  }
}

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

async function get(path: string, query: OptionValues = {}, signal?: AbortSignal): Promise<Response> {
  const key = apiKey();
  const headers: Record<string, string> = key ? { 'X-API-Key': key } : {};
  let response: Response;
  try {
    response = await fetch(address(path, query), { headers, signal: signal ?? null, cache: 'no-store' });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw Problem.network();
  }
  if (!response.ok) throw await Problem.of(response);
  return response;
}

export async function listModels(): Promise<ListedModel[]> {
  return ((await (await get('models')).json()) as { models: ListedModel[] }).models;
}

export async function offeredOptions(): Promise<OfferedOptions> {
  return (await get('options')).json() as Promise<OfferedOptions>;
}

export async function segmentsOf(id: string, options: OptionValues): Promise<Detection> {
  return (await get(`analyses/${id}/segments`, { ...options, format: 'json' })).json() as Promise<Detection>;
}

export async function exported(id: string, format: string, options: OptionValues): Promise<Blob> {
  return (await get(`analyses/${id}/segments`, { ...options, format })).blob();
}

export async function curveOf(id: string, points: number, startMs?: number, endMs?: number): Promise<Curve> {
  const query: OptionValues = { points };
  if (startMs !== undefined) query['start_ms'] = startMs;
  if (endMs !== undefined) query['end_ms'] = endMs;
  return (await get(`analyses/${id}/curve`, query)).json() as Promise<Curve>;
}

/** State of the service; also when it is not ready, which it says with 503. */
export async function health(): Promise<Health> {
  try {
    const response = await fetch(address('health'), { cache: 'no-store' });
    return (await response.json()) as Health;
  } catch {
    throw Problem.network();
  }
}

/** Why the service would not serve this page at present; null where it would. */
export async function refusal(): Promise<Problem | null> {
  try {
    await get('analyses/none/segments');
  } catch (error) {
    if (!(error instanceof Problem)) return Problem.network();
    return error.code === 'no_such_analysis' ? null : error;
  }
  return null;
}
