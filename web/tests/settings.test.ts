import { describe, expect, it } from 'vitest';
import { Catalogue } from '../src/service/catalogue';
import type { ListedModel, OfferedOptions } from '../src/service/types';
import {
  changedCount,
  changedOptions,
  initialSettings,
  type Offer,
  optionValue,
  requestOptions,
  settingsFromJson,
  settingsFromQuery,
  withAudio,
  withMode,
  withModel,
  withPreset,
  withValue,
} from '../src/settings/settings';
import { thresholdsOf } from '../src/settings/thresholds';

const listed = [
  { name: 'small', title: 'Small', state: 'loaded', live: true, default_mode: 'endpoint' },
  { name: 'other', title: 'Other', state: 'available', live: false, default_mode: 'tight' },
  { name: 'gone', title: 'Gone', state: 'absent', live: true, default_mode: 'tight' },
] as ListedModel[];

const offered = {
  modes: [
    { mode: 'endpoint', use: 'file', title: '', options: { wait: { type: 'integer', default: 800, minimum: 1, maximum: 9000 } } },
    {
      mode: 'tight',
      use: 'file',
      title: '',
      options: { threshold: { type: 'number', default: 0.5 }, pad: { type: 'integer', default: 30 } },
    },
    { mode: 'tight', use: 'live', title: '', options: { threshold: { type: 'number', default: 0.5 } } },
  ],
  models: { small: { default_mode: 'endpoint', use: 'file', defaults: { endpoint: { wait: 900 }, tight: { threshold: 0.7, pad: 30 } } } },
  chunks: { max_chunk_s: { type: 'number', minimum: 1, maximum: 600 } },
  audio: { channel: { type: 'string', default: 'mix' }, encoding: { type: 'string' }, sample_rate: { type: 'integer' } },
  presets: [
    { name: 'asr', title: '', model: 'gone', live_model: 'small', mode: 'tight', options: { pad: 200, max_chunk_s: 30, foreign: 1 } },
    {
      name: 'mine',
      title: '',
      model: 'small',
      live_model: 'small',
      mode: 'tight',
      options: { threshold: 0.3, pad: 50 },
      live_options: { threshold: 0.4 },
    },
    { name: 'elsewhere', title: '', model: 'gone', live_model: 'gone', mode: 'tight', options: { threshold: 0.3, pad: 50 } },
  ],
  default_model: 'small',
  forms: [],
  inputs: [],
} as unknown as OfferedOptions;

const file: Offer = { catalogue: new Catalogue(listed, offered), live: false };
const live: Offer = { ...file, live: true };
const start = initialSettings(file);

describe('settings', () => {
  it('ask for nothing at first, and show what the model takes', () => {
    expect(requestOptions(start, file)).toEqual({});
    expect(optionValue(start, 'wait', file)).toBe(900);
  });

  it('ask for what is set, and not for what is set back', () => {
    const set = withValue(start, 'wait', 300, file);
    expect(requestOptions(set, file)).toEqual({ wait: 300 });
    expect(requestOptions(withValue(set, 'wait', 900, file), file)).toEqual({});
  });

  it('of a model whose defaults are not known ask for whatever is set', () => {
    const other = withValue(withModel(start, 'other'), 'threshold', 0.5, file);
    expect(requestOptions(other, file)).toEqual({ model: 'other', threshold: 0.5 });
  });

  it('of a stream ask for what is set on purpose, though it is the default', () => {
    expect(requestOptions(withValue(withMode(initialSettings(live), 'tight'), 'threshold', 0.7, live), live)).toEqual({
      mode: 'tight',
      threshold: 0.7,
    });
  });

  it('of a mode are there again when it comes back', () => {
    const both = withValue(withMode(withValue(start, 'wait', 300, file), 'tight'), 'pad', 10, file);
    expect(changedOptions(both, file)).toEqual({ mode: 'tight', pad: 10 });
    expect(changedOptions(withMode(both, 'endpoint'), file)).toEqual({ wait: 300 });
  });

  it('follow an answer where a default has moved', () => {
    const tight = withMode(start, 'tight');
    expect(optionValue(tight, 'pad', file, { mode: 'tight', pad: 31 })).toBe(31);
    expect(optionValue(tight, 'pad', file, { mode: 'endpoint', pad: 31 })).toBe(30);
  });

  it('take from a preset what there is here', () => {
    const preset = withPreset(start, offered.presets[0] as never, file);
    expect(requestOptions(preset, file)).toEqual({ mode: 'tight', pad: 200, max_chunk_s: 30 });
    expect(preset.preset).toBe('asr');
    expect(withValue(preset, 'pad', 10, file).preset).toBeNull();
  });

  it('take thresholds from a preset only with its model, and what it has for streams', () => {
    const [, mine, elsewhere] = offered.presets as never[];
    expect(requestOptions(withPreset(start, mine as never, file), file)).toEqual({ mode: 'tight', threshold: 0.3, pad: 50 });
    expect(requestOptions(withPreset(start, elsewhere as never, file), file)).toEqual({ mode: 'tight', pad: 50 });
    expect(requestOptions(withPreset(initialSettings(live), mine as never, live), live)).toMatchObject({ threshold: 0.4 });
  });

  it('say how many of them differ from those of a first visit', () => {
    expect(changedCount(start, file)).toBe(0);
    const set = withAudio(withMode(start, 'tight'), 'channel', 'split', file);
    expect(changedCount(withValue(set, 'pad', 10, file), file)).toBe(3);
    expect(changedCount(withModel(start, 'other'), file)).toBe(1);
    // What was set in another mode is not in force.
    expect(changedCount(withMode(withValue(withMode(start, 'tight'), 'pad', 10, file), 'endpoint'), file)).toBe(0);
  });

  it('say how raw samples are read only together with their coding', () => {
    const raw = withAudio(withAudio(start, 'encoding', 'pcm_s16le', file), 'sample_rate', 8000, file);
    expect(requestOptions(raw, file)).toEqual({ encoding: 'pcm_s16le', sample_rate: 8000 });
    expect(requestOptions(withAudio(raw, 'encoding', '', file), file)).toEqual({});
  });

  it('are said by an address and read from it', () => {
    const set = withAudio(withValue(withMode(start, 'tight'), 'pad', 10, file), 'channel', '1', file);
    const query = new URLSearchParams(Object.entries(requestOptions(set, file)).map(([name, value]) => [name, String(value)]));
    expect(requestOptions(settingsFromQuery(query, start, file), file)).toEqual(requestOptions(set, file));
    const odd = new URLSearchParams('model=gone&mode=none&wait=many&other=1&preset=none');
    expect(settingsFromQuery(odd, start, file)).toEqual(start);
  });

  it('that were kept are taken where they still fit', () => {
    expect(settingsFromJson(JSON.stringify(withMode(start, 'tight')), file)?.mode).toBe('tight');
    for (const text of ['', '{', '{"model":"gone"}', '{"mode":"none"}', '{"given":3}']) expect(settingsFromJson(text, file)).toBeNull();
  });
});

describe('thresholds', () => {
  it('have the number of the option, and the height that it cuts the curve at', () => {
    expect(thresholdsOf({ threshold: 0.5, pad: 10 })).toMatchObject([{ option: 'threshold', value: 0.5, height: 0.5 }]);
    const [margin] = thresholdsOf({ speech_noise_thres: 0.6, speech_2_noise_ratio: 1 });
    expect([margin?.value, margin?.height.toFixed(3)]).toEqual([0.6, '0.800']);
    expect(margin?.valueAt(0.9)).toBeCloseTo(0.8);
  });
});
