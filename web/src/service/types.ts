/** The service's documents, by short names; their forms are made from its OpenAPI description. */

import type { components } from './schema';

type Schemas = components['schemas'];

export type Segment = Schemas['SegmentDocument'];
export type Chunk = Schemas['ChunkDocument'];
export type Channel = Schemas['ChannelDocument'];
export type Audio = Schemas['AudioDocument'];
export type Model = Schemas['ModelDocument'];
export type Warning = Schemas['WarningDocument'];
export type Curve = Schemas['CurveDocument'];
export type Health = Schemas['HealthDocument'];
export type ListedModel = Schemas['ListedModel'];
export type Form = Schemas['FormDocument'];
export type Preset = Omit<Schemas['PresetDocument'], 'options' | 'live_options'> & {
  options: OptionValues;
  live_options: OptionValues | null;
};

/** What an option holds. */
export type Value = string | number | boolean;
export type OptionValues = Record<string, Value>;

/** `options`: the mode, and its options in force. */
export type Detection = Omit<Schemas['DetectionDocument'], 'options'> & { options: OptionValues };

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
  examples?: Value[];
  unit?: string;
  description?: string;
}
export type OptionSchemas = Record<string, Schema>;

/** What a mode's options apply to; a mode without an entry of a use takes its first one. */
export type Use = 'file' | 'live' | 'labelled';

export type OfferedOptions = Omit<Schemas['OptionsDocument'], 'modes' | 'models' | 'chunks' | 'audio' | 'overlap' | 'presets'> & {
  modes: { mode: string; use: Use; title: string; options: OptionSchemas }[];
  models: Record<string, { default_mode: string; use: Use; defaults: Record<string, OptionValues> }>;
  chunks: OptionSchemas;
  audio: OptionSchemas;
  overlap: OptionSchemas;
  presets: Preset[];
};
