import { beforeEach, describe, expect, it, vi } from 'vitest';
import { keyNamed, language } from '../src/text/i18n';
import { detailOf } from '../src/text/warnings';
import TOLD from './warnings.json';

vi.hoisted(() => vi.stubGlobal('navigator', { language: 'en' }));

const DETAILS: Record<string, string[]> = TOLD;
const cases = Object.entries(DETAILS).flatMap(([code, details]) => details.map((detail): [string, string] => [code, detail]));
const said = (code: string, detail: string): string =>
  detailOf(code, detail)
    .parts.map(({ text }) => text)
    .join('');

describe('what a warning found', () => {
  beforeEach(() => {
    language.value = 'zh';
  });

  it.each(cases)('of %s is said in Chinese: %s', (code, detail) => {
    expect(detailOf(code, detail).foreign).toBe(false);
    // Names, units and numbers are the same in both languages.
    expect(said(code, detail).replace(/\b(?:Hz|dB|dBFS|WAV|CPU|noisy|silero|firered|fsmn)\b/g, '')).not.toMatch(/[a-z]{2,}/i);
  });

  it.each(cases)('of %s has times in one form: %s', (code, detail) => {
    for (language.value of ['zh', 'en'] as const) expect(said(code, detail)).not.toMatch(/\d ms\b|`/);
  });

  it.each(Object.keys(DETAILS))('%s has a title', (code) => {
    expect(keyNamed(`warn_${code}`)).not.toBeNull();
  });

  it('gives places in the file', () => {
    const places = (code: string, at = 0): number[] =>
      detailOf(code, DETAILS[code]?.[at] ?? '').parts.flatMap(({ atMs }) => (atMs === undefined ? [] : [atMs]));
    for (language.value of ['zh', 'en'] as const) {
      expect(places('time_gap')).toEqual([1500]);
      expect(places('forced_cuts', 1)).toEqual([70]);
      expect(places('damaged', 3)).toEqual([]);
    }
  });

  it('that only a newer service knows is said as it says it', () => {
    expect(detailOf('quite_new', 'something after 20 ms')).toEqual({
      parts: [{ text: 'something after ' }, { text: '0:00.020', atMs: 20 }, { text: '' }],
      foreign: true,
    });
    expect(said('forced_cuts', '2 segments are of a new kind')).toBe('2 segments are of a new kind');
  });

  it('numbers tracks as people count', () => {
    language.value = 'en';
    expect(said('other_tracks', DETAILS.other_tracks?.[0] ?? '')).toBe('track 1 of 2 was heard');
  });
});
