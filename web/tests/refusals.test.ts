import { beforeEach, describe, expect, it, vi } from 'vitest';
import { language } from '../src/text/i18n';
import { refusalOf } from '../src/text/refusals';

vi.hoisted(() => vi.stubGlobal('navigator', { language: 'en' }));

describe('a value that the service does not take', () => {
  beforeEach(() => {
    language.value = 'zh';
  });

  it.each([
    ['neg_threshold', 'neg_threshold: must be at most threshold (0.45)', '不得高于“起始概率”（0.45）'],
    ['chunk_pad_ms', 'must be at most a quarter of max_chunk_s (30 s)', '至多为“块的最长”（30 s）的四分之一'],
    ['speech_to_sil_time_thres', 'must be below max_end_silence_time (200)', '须小于“句尾静音”（200）'],
    ['threshold', 'threshold: input should be less than or equal to 1', '不得大于 1'],
    ['track', 'track: a WAV file has one track, number 0', 'WAV 文件只有一条音轨，序号为 0'],
    ['channel', 'channel: the file has 1 channels, numbered from 0', '文件只有 1 个声道，序号从 0 起'],
  ])('%s: %s', (name, told, chinese) => {
    expect(refusalOf(name, told)).toEqual({ text: chinese, foreign: false });
  });

  it('is in English on the English page, without marks of documents', () => {
    language.value = 'en';
    expect(refusalOf('level', 'level: use `mode=runs`')).toEqual({ text: 'use mode=runs', foreign: false });
  });

  it('is as the service says it where the page has no words', () => {
    expect(refusalOf('level', 'level: something new')).toEqual({ text: 'something new', foreign: true });
  });
});
