/** What the service offers, in its own words: models, modes, options, presets, forms of answer, kinds of files. */

import type { Form, ListedModel, OfferedOptions, OptionSchemas, Preset, Schema, Use, Value } from './types';

export interface Choice {
  name: string;
  title: string;
  /** Its own defaults are known when it has been loaded, at its first use. */
  loaded: boolean;
  /** How well its segments fit labelled speech, 0 to 1; null where that has not been measured. */
  f1: number | null;
  /** Processor time, where that of `fsmn` is 1; null where it has not been measured. */
  cost: number | null;
}

/** The page's own preset: the best model at hand, close around speech. */
export const PEOPLE = 'people';

const TIGHT = 'tight';

export class Catalogue {
  constructor(
    private readonly listed: readonly ListedModel[],
    private readonly offered: OfferedOptions,
  ) {}

  /** Those that can be asked for, the default one first. */
  models(live: boolean): Choice[] {
    const usable = this.listed.filter((model) => model.state !== 'absent' && (model.live || !live));
    return usable.map(({ name, title, state, accuracy, cost }) => ({
      name,
      title,
      loaded: state === 'loaded',
      f1: accuracy?.frame_f1 ?? null,
      cost: cost ?? null,
    }));
  }

  /** Of those that can be asked for, the one with the highest F1; null where none has been measured. */
  best(live: boolean): Choice | null {
    return this.models(live).reduce<Choice | null>((best, one) => ((one.f1 ?? 0) > (best?.f1 ?? 0) ? one : best), null);
  }

  has(model: string, live = false): boolean {
    return this.models(live).some(({ name }) => name === model);
  }

  /** The model of a request that names none. */
  get defaultModel(): string {
    return this.offered.default_model;
  }

  /** The model to begin with: the default one, where it can follow what it has to. */
  firstModel(live: boolean): string {
    if (this.has(this.defaultModel, live)) return this.defaultModel;
    return this.models(live)[0]?.name ?? this.defaultModel;
  }

  /** Of a model that has just answered: whether it was not loaded when this was asked for. */
  isNews(model: string): boolean {
    return this.listed.some(({ name, state }) => name === model && state !== 'loaded');
  }

  get modes(): string[] {
    return [...new Set(this.offered.modes.map(({ mode }) => mode))];
  }

  /** How a model's segments are made where no mode is named. */
  defaultMode(model: string): string {
    const listed = this.listed.find(({ name }) => name === model)?.default_mode;
    return this.offered.models[model]?.default_mode ?? listed ?? this.modes[0] ?? '';
  }

  /** What a mode is for. */
  title(mode: string, model: string, live: boolean): string {
    return this.entry(mode, this.use(model, live))?.title ?? '';
  }

  /** Those of the mode, and for files those of chunks and, of models that tell it, of several people talking at once. */
  options(mode: string, model: string, live: boolean): OptionSchemas {
    const own = this.entry(mode, this.use(model, live))?.options ?? {};
    if (live) return own;
    return { ...own, ...emptyable(this.offered.chunks), ...this.overlap(model) };
  }

  /** What asks when several people talk at once; nothing where the model cannot tell. The first switches it on. */
  overlap(model: string): OptionSchemas {
    return this.listed.some(({ name, overlap }) => name === model && overlap) ? this.offered.overlap : {};
  }

  /** How a file is read. */
  get audio(): OptionSchemas {
    return this.offered.audio;
  }

  /** That of people who speak first, as what most people want. */
  get presets(): readonly Preset[] {
    const [best, live] = [this.best(false), this.best(true)];
    if (!best || !this.modes.includes(TIGHT)) return this.offered.presets;
    const people = { name: PEOPLE, title: '', model: best.name, live_model: live?.name ?? this.defaultModel, mode: TIGHT, options: {} };
    return [people as Preset, ...this.offered.presets];
  }

  get forms(): readonly Form[] {
    return this.offered.forms;
  }

  /** Endings of files that can be read, as a file picker takes them. */
  get accept(): string {
    return ['audio/*', 'video/*', ...this.offered.inputs.flatMap(({ suffixes }) => suffixes)].join();
  }

  /** What the kinds of files are called. */
  get inputs(): string[] {
    return this.offered.inputs.map(({ title }) => title);
  }

  /** Whether the service has told what this model takes where nothing is given. */
  knows(model: string): boolean {
    return model in this.offered.models;
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

/** Options that are not in force where they are not given: an empty field. */
function emptyable(schemas: OptionSchemas): OptionSchemas {
  const made = Object.entries(schemas).map(([name, schema]): [string, Schema] => {
    if (schema.default !== undefined) return [name, schema];
    const { type, ...rest } = schema;
    return [name, { ...rest, default: '', anyOf: [{ ...schema, type: type ?? 'number' }, { const: '' }] }];
  });
  return Object.fromEntries(made);
}
