/** Why the service does not take an option's value, in the page's words: in Chinese, as far as the page knows the reason. */

import { language } from './i18n';
import { optionName } from './names';

/** `{1}` is what stands there, `{=1}` the name of an option. */
const CHINESE: readonly (readonly [RegExp, string])[] = [
  [/^must be at most a quarter of (\w+) \((\S+) s\)$/, '至多为{=1}（{2} s）的四分之一'],
  [/^must be at most (\w+) \((\S+)\)$/, '不得高于{=1}（{2}）'],
  [/^must be below (\w+) \((\S+)\)$/, '须小于{=1}（{2}）'],
  [/^input should be greater than or equal to (\S+)$/, '不得小于 {1}'],
  [/^input should be greater than (\S+)$/, '须大于 {1}'],
  [/^input should be less than or equal to (\S+)$/, '不得大于 {1}'],
  [/^input should be less than (\S+)$/, '须小于 {1}'],
  [/^an? (\S+) file has one track, number 0$/, '{1} 文件只有一条音轨，序号为 0'],
  [/^raw samples have one track, number 0$/, '裸采样只有一条音轨，序号为 0'],
  [/^the file has (\d+) sound tracks.*$/, '文件只有 {1} 条音轨，序号从 0 起'],
  [/^the file has (\d+) channels, numbered from 0$/, '文件只有 {1} 个声道，序号从 0 起'],
  [/^track=all uses the mean of each track's channels: leave this out$/, '每条音轨各成一行时取其各声道的平均，此项须留空'],
  [/^(\S+) has one channel$/, '{1} 只有一个声道'],
  [/^(\S+) has (\d+) Hz and no other rate$/, '{1} 的采样率只有 {2} Hz'],
];

/** `name`: the option that it is about, which stands beside it. */
export function refusalOf(name: string, told: string): { text: string; foreign: boolean } {
  const detail = told.replaceAll('`', '').replace(`${name}: `, '');
  if (language.value === 'en') return { text: detail, foreign: false };
  for (const [pattern, words] of CHINESE) {
    const found = pattern.exec(detail);
    if (!found) continue;
    const text = words.replace(/\{(=?)(\d)\}/g, (_, named: string, group: string) => {
      const value = found[Number(group)] ?? '';
      return named ? `“${optionName(value)?.zh ?? value}”` : value;
    });
    return { text, foreign: false };
  }
  return { text: detail, foreign: true };
}
