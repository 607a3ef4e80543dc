/** Model, mode and options of one card or stream, and the command line that says the same. */

import { address, apiKey, type OptionValues, type Preset, type Schema, type Value } from './api';
import type { Catalogue } from './catalogue';

export class Options {
  /** What the person has set, by mode. */
  private readonly given = new Map<string, Map<string, Value>>();
  private chosenMode: string | null = null;
  /** What an answer has told to be in force: a default may follow what is set, and then is not what it was. */
  private inForce: OptionValues = {};

  /** `live`: of a stream, for which a mode may have a machine of its own. */
  constructor(
    readonly catalogue: Catalogue,
    private chosenModel: string,
    readonly live = false,
  ) {}

  copy(): Options {
    const copy = new Options(this.catalogue, this.chosenModel, this.live);
    copy.chosenMode = this.chosenMode;
    copy.inForce = this.inForce;
    for (const [mode, values] of this.given) copy.given.set(mode, new Map(values));
    return copy;
  }

  get model(): string {
    return this.chosenModel;
  }

  /** What was set stays; all else is the model's own. */
  set model(name: string) {
    this.chosenModel = name;
    this.inForce = {};
  }

  get mode(): string {
    const told = this.inForce['mode'] as string | undefined;
    return this.chosenMode ?? this.defaultMode ?? told ?? this.catalogue.modes[0] ?? '';
  }

  set mode(mode: string) {
    this.chosenMode = mode;
  }

  private get defaultMode(): string | undefined {
    return this.catalogue.defaultMode(this.model);
  }

  /** Of the mode in force. */
  get schemas(): Record<string, Schema> {
    return this.catalogue.options(this.mode, this.model, this.live);
  }

  title(mode: string): string {
    return this.catalogue.title(mode, this.model, this.live);
  }

  /** Of the mode in force. */
  get(name: string): Value | undefined {
    const told = this.inForce['mode'] === this.mode ? this.inForce[name] : undefined;
    return this.given.get(this.mode)?.get(name) ?? told ?? this.defaultOf(name);
  }

  /** What is set back to its default is not set. */
  set(name: string, value: Value): void {
    const given = this.given.get(this.mode) ?? new Map<string, Value>();
    this.given.set(this.mode, given);
    if (value === this.defaultOf(name)) given.delete(name);
    else given.set(name, value);
  }

  private defaultOf(name: string): Value | undefined {
    return this.catalogue.defaultOf(name, this.mode, this.model, this.live);
  }

  /** What a preset sets, as if it had been set here; its model where it can be had. */
  use(preset: Preset): void {
    this.reset();
    const wanted = this.live ? preset.live_model : preset.model;
    if (this.catalogue.models(this.live).some(({ name }) => name === wanted)) this.model = wanted;
    this.mode = preset.mode;
    const names = Object.keys(this.schemas);
    for (const [name, value] of Object.entries(preset.options)) if (names.includes(name)) this.set(name, value);
  }

  learn(inForce: OptionValues): void {
    this.inForce = inForce;
  }

  /** The mode too, but not the model: another one would need the audio again. */
  reset(): void {
    this.given.clear();
    this.chosenMode = null;
    this.inForce = {};
  }

  /** What differs from the defaults, of the mode in force. */
  changed(): OptionValues {
    const names = Object.keys(this.schemas);
    const given = [...(this.given.get(this.mode) ?? [])].filter(([name]) => names.includes(name));
    given.sort(([one], [other]) => names.indexOf(one) - names.indexOf(other));
    // Where the default mode is not told, options name theirs, lest they meet another one.
    const named = this.chosenMode !== null || given.length > 0;
    const mode: OptionValues = named && this.mode !== this.defaultMode ? { mode: this.mode } : {};
    return { ...mode, ...Object.fromEntries(given) };
  }

  /** The same for a request that brings the audio. */
  request(): OptionValues {
    const model: OptionValues = this.model === this.catalogue.defaultModel ? {} : { model: this.model };
    return { ...model, ...this.changed() };
  }
}

/** A line for a shell that gives the same answer. */
export function commandLine(fileName: string, options: Options): string {
  const form = `file=@"${fileName.replace(/(["\\])/g, '\\$1')}"`;
  const key = apiKey() ? ' -H "X-API-Key: $VAD_KEY"' : '';
  return `curl${key} -F ${quoted(form)} ${quoted(address('vad', options.request()))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
