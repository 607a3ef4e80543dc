/** What a warning found, with times as the page writes them: those that are a place in the file can be gone to. */

import { clock } from '../timeline/time';
import { language } from './i18n';

export interface Part {
  readonly text: string;
  /** Where in the file, of a time that is a place. */
  readonly atMs?: number;
}

/** By code: what the service's words hold, and the same in Chinese; `{2}` is a figure, `{2ms}` a length, `{@2}` a place. */
const CHINESE: Record<string, readonly [RegExp, string]> = {
  late_start: [/begins (\d+) ms/, '晚 {1ms}'],
  time_gap: [/^(\d+) pauses.*?(\d+) ms in all, the first after (\d+) ms/, '共 {1} 处，合计 {2ms}，第一处在 {@3}'],
  forced_cuts: [/^(\d+) segments? .*? begins at (\d+) ms/, '共 {1} 段，第一段始于 {@2}'],
  channels_cancel: [/([\d.]+%)/, '混合后只剩 {1} 的能量'],
  very_quiet: [/(-?\d+ dBFS)/, '最响处 {1}'],
  clipped: [/([\d.]+%)/, '{1} 的采样满幅'],
};

/** In the present language where the page has words of its own; else as the service says it, which is English. */
export function detailOf(code: string, detail: string): { parts: Part[]; foreign: boolean } {
  const [pattern, words] = CHINESE[code] ?? [];
  const found = language.value === 'zh' && pattern ? pattern.exec(detail) : null;
  if (!found || !words) return { parts: english(detail), foreign: language.value === 'zh' };
  const parts = words.split(/(\{[^}]+\})/).map((piece): Part => {
    const [, place, group, length] = /^\{(@?)(\d)(ms)?\}$/.exec(piece) ?? [];
    if (group === undefined) return { text: piece };
    const value = found[Number(group)] ?? '';
    if (place) return { text: clock(Number(value)), atMs: Number(value) };
    return { text: length ? clock(Number(value)) : value };
  });
  return { parts, foreign: false };
}

/** After these words a time is a place and not a length. */
const PLACE = /(?:after|at|from) $/;

function english(detail: string): Part[] {
  const pieces = detail.replaceAll('`', '').split(/(\d+) ms\b/);
  return pieces.map((piece, at): Part => {
    if (at % 2 === 0) return { text: piece };
    const ms = Number(piece);
    return PLACE.test(pieces[at - 1] ?? '') ? { text: clock(ms), atMs: ms } : { text: clock(ms) };
  });
}
