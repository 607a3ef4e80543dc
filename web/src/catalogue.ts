/** What the service offers, in its own words: models, modes, and the options of each mode. */

import { listModels, offeredOptions, Problem, type ListedModel, type OfferedOptions, type Preset, type Schema, type Use, type Value } from './api';

const AGAIN_MS = 2000;

export interface Choice {
  name: string;
  title: string;
  /** Its own defaults are known when it has been loaded, at its first use. */
  loaded: boolean;
}

export class Catalogue {
  private constructor(
    private listed: ListedModel[],
    private offered: OfferedOptions,
  ) {}

  static async fetch(): Promise<Catalogue> {
    return new Catalogue(...(await fetched()));
  }

  /** After the first use of a model that was not loaded before. */
  async reload(): Promise<void> {
    [this.listed, this.offered] = await fetched();
  }

  /** Those that can be asked for, the default one first. */
  models(live: boolean): Choice[] {
    const usable = this.listed.filter((model) => model.state !== 'absent' && (model.live || !live));
    return usable.map(({ name, title, state }) => ({ name, title, loaded: state === 'loaded' }));
  }

  /** The model of a request that names none. */
  get defaultModel(): string {
    return this.offered.default_model;
  }

  /** The model to begin with: the default one, where it can follow what it has to. */
  firstModel(live: boolean): string {
    const choices = this.models(live);
    return (choices.find(({ name }) => name === this.defaultModel) ?? choices[0])?.name ?? this.defaultModel;
  }

  /** Of a model that has just answered: whether it was not loaded when this was asked for. */
  isNews(model: string): boolean {
    return this.listed.some(({ name, state }) => name === model && state !== 'loaded');
  }

  get modes(): string[] {
    return [...new Set(this.offered.modes.map(({ mode }) => mode))];
  }

  /** How a model's segments are made where no mode is named, if that is told. */
  defaultMode(model: string): string | undefined {
    return this.offered.models[model]?.default_mode ?? this.listed.find(({ name }) => name === model)?.default_mode;
  }

  /** What a mode is for. */
  title(mode: string, model: string, live: boolean): string {
    return this.entry(mode, this.use(model, live))?.title ?? '';
  }

  /** Those of the mode, and for files those of chunks. */
  options(mode: string, model: string, live: boolean): Record<string, Schema> {
    const own = this.entry(mode, this.use(model, live))?.options ?? {};
    if (live) return own;
    const chunks = Object.entries(this.offered.chunks).map(([name, schema]) => [name, emptyable(schema)]);
    return { ...own, ...(Object.fromEntries(chunks) as Record<string, Schema>) };
  }

  get presets(): readonly Preset[] {
    return this.offered.presets;
  }

  /** An option's value where none is given. */
  defaultOf(name: string, mode: string, model: string, live: boolean): Value | undefined {
    const schema = this.options(mode, model, live)[name]?.default ?? undefined;
    const own = this.offered.models[model];
    const value = own?.defaults[mode]?.[name];
    // What is told is for files; where streams have a machine of their own, only what somebody has set holds there too.
    const ofFiles = own && this.entry(mode, own.use)?.options[name]?.default;
    return value === undefined || value === ofFiles ? schema : value;
  }

  private use(model: string, live: boolean): Use {
    const use = this.offered.models[model]?.use ?? 'file';
    return live && use === 'file' ? 'live' : use;
  }

  private entry(mode: string, use: Use): OfferedOptions['modes'][number] | undefined {
    const entries = this.offered.modes.filter((entry) => entry.mode === mode);
    return entries.find((entry) => entry.use === use) ?? entries[0];
  }
}

/** An option that is not in force where it is not given: an empty field. */
function emptyable(schema: Schema): Schema {
  if (schema.default !== undefined) return schema;
  const { type, ...rest } = schema;
  return { ...rest, default: '', anyOf: [{ ...schema, type: type ?? 'number' }, { const: '' }] };
}

async function fetched(): Promise<[ListedModel[], OfferedOptions]> {
  return Promise.all([listModels(), offeredOptions()]);
}

let pending: Promise<Catalogue> | null = null;

/** The one of this service: waits while it loads its models; after any other failure the next call tries again. */
export function catalogue(): Promise<Catalogue> {
  pending ??= patiently().catch((error: unknown) => {
    pending = null;
    throw error;
  });
  return pending;
}

async function patiently(): Promise<Catalogue> {
  for (;;) {
    try {
      return await Catalogue.fetch();
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'not_ready')) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
