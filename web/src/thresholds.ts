/** Heights at which options cut the curve of the speech probability. */

import type { Options } from './options';

/** Options that are such a height themselves. */
const HEIGHTS = ['threshold', 'neg_threshold', 'speech_threshold'];

export function thresholdsOf(options: Options): number[] {
  const number = (name: string): number | undefined => {
    const value = name in options.schemas ? options.get(name) : undefined;
    return typeof value === 'number' ? value : undefined;
  };
  const margin = number('speech_noise_thres');
  const heights = HEIGHTS.map(number).filter((value) => value !== undefined);
  return margin === undefined ? heights : [...heights, overSilence(margin, number('speech_2_noise_ratio') ?? 1)];
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
