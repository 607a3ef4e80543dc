/**
 * Model, mode and options of a file or a stream, as plain values: every change makes new settings.
 *
 * What is kept is what a person has set; everything else is the service's to say. What was set in one mode is there
 * again when the mode comes back.
 */

import type { Catalogue } from '../service/catalogue';
import type { OptionSchemas, OptionValues, Preset, Schema, Value } from '../service/types';

export interface Settings {
  readonly model: string;
  /** Null: the model's own. */
  readonly mode: string | null;
  /** By mode. */
  readonly given: Readonly<Record<string, OptionValues>>;
  /** How the file is read. */
  readonly audio: OptionValues;
  /** The one that was chosen last, and that nothing has been changed of since. */
  readonly preset: string | null;
}

/** What there is to choose from, and whether for a stream. */
export interface Offer {
  readonly catalogue: Catalogue;
  readonly live: boolean;
}

export function initialSettings({ catalogue, live }: Offer): Settings {
  return { model: catalogue.firstModel(live), mode: null, given: {}, audio: {}, preset: null };
}

export function modeOf(settings: Settings, { catalogue }: Offer): string {
  return settings.mode ?? catalogue.defaultMode(settings.model);
}

/** Of the options of the mode in force. */
export function schemasOf(settings: Settings, offer: Offer): OptionSchemas {
  const mode = modeOf(settings, offer);
  const schemas = offer.catalogue.options(mode, settings.model, offer.live);
  const [asked, ...details] = Object.keys(offer.catalogue.overlap(settings.model));
  if (asked === undefined || settings.given[mode]?.[asked] === true) return schemas;
  // How overlap is told means nothing where nobody asks for it.
  return Object.fromEntries(Object.entries(schemas).filter(([name]) => !details.includes(name)));
}

function defaultOf(settings: Settings, name: string, offer: Offer): Value | undefined {
  return offer.catalogue.defaultOf(name, modeOf(settings, offer), settings.model, offer.live);
}

/** `inForce`: what an answer has told, of whatever model and mode; a default may follow what is set. */
export function optionValue(settings: Settings, name: string, offer: Offer, inForce: OptionValues = {}): Value | undefined {
  const mode = modeOf(settings, offer);
  const told = inForce.mode === mode ? inForce[name] : undefined;
  return settings.given[mode]?.[name] ?? told ?? defaultOf(settings, name, offer);
}

/** In a file's settings what is set back to its default is not set; a stream's default is never known for sure. */
export function withValue(settings: Settings, name: string, value: Value, offer: Offer): Settings {
  const mode = modeOf(settings, offer);
  const { catalogue, live } = offer;
  const isDefault = value === defaultOf(settings, name, offer) && !live && catalogue.knows(settings.model);
  const given = { ...settings.given };
  // Whether several people talk at once is asked of the audio, in whatever mode its speech is cut.
  for (const each of name in catalogue.overlap(settings.model) ? catalogue.modes : [mode]) {
    given[each] = { ...given[each], [name]: value };
    if (isDefault) delete given[each]?.[name];
  }
  return { ...settings, given, preset: null };
}

/** What a field is emptied to, and what stands where nothing is set, is not set. */
export function withAudio(settings: Settings, name: string, value: Value, offer: Offer): Settings {
  const audio = { ...settings.audio, [name]: value };
  if (value === '' || value === offer.catalogue.audio[name]?.default) delete audio[name];
  // The rate and the channels of raw samples mean nothing without their coding.
  if (!('encoding' in audio)) for (const raw of ['sample_rate', 'channels']) delete audio[raw];
  return { ...settings, audio };
}

export function withMode(settings: Settings, mode: string): Settings {
  return { ...settings, mode, preset: null };
}

export function withModel(settings: Settings, model: string): Settings {
  return { ...settings, model, preset: null };
}

/** Options that mean something else with another model, whose probabilities are spread otherwise. */
const OF_A_MODEL = ['threshold', 'neg_threshold', 'speech_noise_thres', 'speech_threshold', 'onset', 'offset'];

/** What a preset sets, as if it had been set here; its model where it can be had, and else not its thresholds. */
export function withPreset(settings: Settings, preset: Preset, offer: Offer): Settings {
  const wanted = offer.live ? preset.live_model : preset.model;
  const options = (offer.live ? preset.live_options : null) ?? preset.options;
  const model = offer.catalogue.has(wanted, offer.live) ? wanted : settings.model;
  const bare: Settings = { model, mode: preset.mode, given: {}, audio: settings.audio, preset: null };
  const names = Object.keys(schemasOf(bare, offer)).filter((name) => model === wanted || !OF_A_MODEL.includes(name));
  const fitting = Object.entries(options).filter(([name]) => names.includes(name));
  const made = fitting.reduce((sofar, [name, value]) => withValue(sofar, name, value, offer), bare);
  return { ...made, preset: preset.name };
}

/** How many settings differ from those that a first visit finds. */
export function changedCount(settings: Settings, offer: Offer): number {
  const { mode = null, ...options } = changedOptions(settings, offer) as OptionValues & { mode?: Value };
  const audio = offer.live ? 0 : Object.keys(settings.audio).length;
  const model = settings.model === offer.catalogue.firstModel(offer.live) ? 0 : 1;
  return model + (mode === null ? 0 : 1) + Object.keys(options).length + audio;
}

/** Whether an option has been set, here or by a preset. */
export function isChanged(settings: Settings, name: string, offer: Offer): boolean {
  return (settings.given[modeOf(settings, offer)]?.[name] ?? settings.audio[name]) !== undefined;
}

/** What is set, of the mode in force, in the order of the service's list. */
export function changedOptions(settings: Settings, offer: Offer): OptionValues {
  const mode = modeOf(settings, offer);
  const given = settings.given[mode] ?? {};
  const values: OptionValues = {};
  for (const name of Object.keys(schemasOf(settings, offer))) {
    const value = given[name];
    if (value !== undefined) values[name] = value;
  }
  const named = settings.mode !== null && mode !== offer.catalogue.defaultMode(settings.model);
  return named ? { mode, ...values } : values;
}

/** The same for a request that brings the audio. */
export function requestOptions(settings: Settings, offer: Offer): OptionValues {
  const model: OptionValues = settings.model === offer.catalogue.defaultModel ? {} : { model: settings.model };
  const audio = offer.live ? {} : settings.audio;
  return { ...model, ...changedOptions(settings, offer), ...audio };
}

/** From an address's query, over `base`; what the service does not know is left out. */
export function settingsFromQuery(query: URLSearchParams, base: Settings, offer: Offer): Settings {
  const { catalogue } = offer;
  const preset = catalogue.presets.find(({ name }) => name === query.get('preset'));
  let made = preset ? withPreset(base, preset, offer) : base;
  const [model, mode] = [query.get('model'), query.get('mode')];
  if (model !== null && catalogue.has(model, offer.live)) made = withModel(made, model);
  if (mode !== null && catalogue.modes.includes(mode)) made = withMode(made, mode);
  for (const [name, schema] of Object.entries(schemasOf(made, offer))) {
    const value = parsed(query.get(name), schema);
    if (value !== undefined) made = withValue(made, name, value, offer);
  }
  for (const [name, schema] of Object.entries(catalogue.audio)) {
    const value = parsed(query.get(name), schema);
    if (value !== undefined) made = withAudio(made, name, value, offer);
  }
  return made;
}

function parsed(text: string | null, schema: Schema): Value | undefined {
  if (text === null) return undefined;
  const kinds = [schema, ...(schema.anyOf ?? [])].map(({ type }) => type);
  if (kinds.includes('boolean')) return text === 'true';
  if (!kinds.includes('number') && !kinds.includes('integer')) return text;
  if (schema.anyOf?.some((kind) => kind.const === text)) return text;
  const number = Number(text);
  return text !== '' && Number.isFinite(number) ? number : undefined;
}

/** Settings that were kept as JSON, where they still are settings of this service. */
export function settingsFromJson(text: string, offer: Offer): Settings | null {
  try {
    const kept = { ...initialSettings(offer), ...(JSON.parse(text) as Partial<Settings>) };
    const { catalogue, live } = offer;
    const fits = catalogue.has(kept.model, live) && (kept.mode === null || catalogue.modes.includes(kept.mode));
    return fits && typeof kept.given === 'object' && typeof kept.audio === 'object' ? kept : null;
  } catch {
    return null;
  }
}
