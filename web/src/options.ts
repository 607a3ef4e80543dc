/** The options that have a slider, and the command line that says the same. */

import { address, apiKey, type OptionValues } from './api';

export type Mode = 'endpoint' | 'tight';

export interface Slider {
  name:
    | 'max_end_silence_time'
    | 'speech_noise_thres'
    | 'max_single_segment_time'
    | 'threshold'
    | 'neg_threshold'
    | 'min_speech_duration_ms'
    | 'min_silence_duration_ms'
    | 'speech_pad_ms';
  mode: Mode;
  unit: 'ms' | '';
  /** What the slider spans. */
  from: number;
  to: number;
  step: number;
  /** What the service takes; the number field allows all of it. */
  least: number;
  most: number;
  /** The service's own default where nothing has been answered yet. */
  initial: number;
}

export const SLIDERS: readonly Slider[] = [
  { name: 'max_end_silence_time', mode: 'endpoint', unit: 'ms', from: 200, to: 3000, step: 10, least: 200, most: 10_000, initial: 800 },
  { name: 'speech_noise_thres', mode: 'endpoint', unit: '', from: -1, to: 1, step: 0.01, least: -1, most: 1, initial: 0.6 },
  { name: 'max_single_segment_time', mode: 'endpoint', unit: 'ms', from: 1000, to: 60_000, step: 500, least: 1000, most: 3_600_000, initial: 60_000 },
  { name: 'threshold', mode: 'tight', unit: '', from: 0.01, to: 1, step: 0.01, least: 0.01, most: 1, initial: 0.7 },
  { name: 'neg_threshold', mode: 'tight', unit: '', from: 0, to: 1, step: 0.01, least: 0, most: 1, initial: 0.5 },
  { name: 'min_speech_duration_ms', mode: 'tight', unit: 'ms', from: 0, to: 2000, step: 10, least: 0, most: 60_000, initial: 100 },
  { name: 'min_silence_duration_ms', mode: 'tight', unit: 'ms', from: 0, to: 2000, step: 10, least: 0, most: 60_000, initial: 100 },
  { name: 'speech_pad_ms', mode: 'tight', unit: 'ms', from: 0, to: 500, step: 5, least: 0, most: 2000, initial: 20 },
];

/** Values of every slider, and the mode. */
export class Options {
  private readonly values = new Map<string, number>();
  mode: Mode;

  /** `defaults`: what the service has in force when nothing is said. */
  constructor(private defaults: OptionValues = {}) {
    this.mode = defaults['mode'] === 'tight' ? 'tight' : 'endpoint';
    for (const slider of SLIDERS) this.values.set(slider.name, this.defaultOf(slider));
  }

  copy(): Options {
    const copy = new Options(this.defaults);
    copy.mode = this.mode;
    for (const [name, value] of this.values) copy.values.set(name, value);
    return copy;
  }

  get(name: string): number {
    return this.values.get(name) ?? 0;
  }

  /** Sets one; a bound of tight mode takes the other along, since the end threshold cannot lie above the start's. */
  set(name: string, value: number): void {
    this.values.set(name, value);
    if (name === 'threshold' && this.get('neg_threshold') > value) this.values.set('neg_threshold', value);
    if (name === 'neg_threshold' && this.get('threshold') < value) this.values.set('threshold', value);
  }

  /** Takes over what turned out to be in force, but for what was turned away from its default. */
  learn(inForce: OptionValues): void {
    const still = SLIDERS.filter((slider) => this.get(slider.name) === this.defaultOf(slider)).map((slider) => slider.name as string);
    const wasDefault = this.mode === (this.defaults['mode'] ?? 'endpoint');
    if (wasDefault) still.push('mode');
    this.defaults = { ...this.defaults, ...Object.fromEntries(Object.entries(inForce).filter(([name]) => still.includes(name))) };
    if (wasDefault) this.mode = this.defaults['mode'] === 'tight' ? 'tight' : 'endpoint';
    for (const slider of SLIDERS) if (still.includes(slider.name)) this.values.set(slider.name, this.defaultOf(slider));
  }

  reset(): void {
    this.mode = this.defaults['mode'] === 'tight' ? 'tight' : 'endpoint';
    for (const slider of SLIDERS) this.values.set(slider.name, this.defaultOf(slider));
  }

  defaultOf(slider: Slider): number {
    const value = this.defaults[slider.name];
    return typeof value === 'number' ? value : slider.initial;
  }

  /** What differs from the service's defaults, of the present mode. */
  changed(): OptionValues {
    const changed: OptionValues = {};
    if (this.mode !== (this.defaults['mode'] ?? 'endpoint')) changed['mode'] = this.mode;
    for (const slider of SLIDERS) {
      const value = this.get(slider.name);
      if (slider.mode === this.mode && value !== this.defaultOf(slider)) changed[slider.name] = value;
    }
    return changed;
  }

  /** Heights of the lines that a probability is compared with. */
  thresholds(): number[] {
    if (this.mode === 'tight') return [this.get('threshold'), this.get('neg_threshold')];
    // Speech must exceed silence by the margin, and the two make 1.
    return [(1 + this.get('speech_noise_thres')) / 2];
  }
}

/** A line for a shell that gives the same answer. */
export function commandLine(fileName: string, options: Options): string {
  const form = `file=@"${fileName.replace(/(["\\])/g, '\\$1')}"`;
  const key = apiKey() ? ' -H "X-API-Key: $VAD_KEY"' : '';
  return `curl${key} -F ${quoted(form)} ${quoted(address('vad', options.changed()))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
