/** Heights at which options cut the curve of the speech probability, and which option says so. */

import type { OptionValues, Value } from '../service/types';

export interface Threshold {
  /** The option that it stands for. */
  option: string;
  /** Of that option. */
  value: number;
  /** Speech probability, 0 to 1; of a margin over silence it is another number than the option's. */
  height: number;
  /** The option's value that would lie at a height. */
  valueAt(height: number): number;
}

/** Options that are such a height themselves. */
const HEIGHTS = ['threshold', 'neg_threshold', 'speech_threshold', 'onset', 'offset'];
/** How far speech has to exceed silence. */
const MARGIN = 'speech_noise_thres';
const RATIO = 'speech_2_noise_ratio';

export function thresholdsOf(values: Readonly<Record<string, Value | undefined>> | OptionValues): Threshold[] {
  const number = (name: string): number | undefined => {
    const value = values[name];
    return typeof value === 'number' ? value : undefined;
  };
  const found: Threshold[] = [];
  for (const option of HEIGHTS) {
    const value = number(option);
    if (value !== undefined) found.push({ option, value, height: value, valueAt: (height) => height });
  }
  const margin = number(MARGIN);
  if (margin !== undefined) {
    const ratio = number(RATIO) ?? 1;
    const valueAt = (height: number): number => height - (1 - height) ** ratio;
    found.push({ option: MARGIN, value: margin, height: overSilence(margin, ratio), valueAt });
  }
  return found;
}

/** From where on speech exceeds silence ** ratio by a margin; the two make 1. */
function overSilence(margin: number, ratio: number): number {
  let [low, high] = [0, 1];
  for (let step = 0; step < 30; step += 1) {
    const middle = (low + high) / 2;
    if (middle >= (1 - middle) ** ratio + margin) high = middle;
    else low = middle;
  }
  return high;
}
