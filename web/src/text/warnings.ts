/** What a warning found, with times as the page writes them: those that are a place in the file can be gone to. */

import { clock } from '../timeline/time';
import { language } from './i18n';

export interface Part {
  readonly text: string;
  /** Where in the file, of a time that is a place. */
  readonly atMs?: number;
}

/**
 * By code: the clauses that the service's words are made of, and what the page says in their place, in Chinese and,
 * where the service's own words are not for the page, in English. `{2}` is a figure, `{2ms}` a length, `{@2}` a place,
 * `{+2}` a number that people count from 1.
 */
const CLAUSES: Record<string, readonly (readonly [RegExp, string, string?])[]> = {
  truncated: [
    // The title says it.
    [/^the part that exists was decoded: /, '', ''],
    [/^it is damaged, and could not be decoded to its end/, '有损坏，未能解码到结尾'],
    [/^(\d+) of (\d+) samples are missing, or damaged/, '{2} 个采样中有 {1} 个缺失或损坏'],
    [/^(\d+) of (\d+) bytes of samples are missing/, '采样数据共 {2} 字节，缺 {1} 字节'],
    [/^(\d+) bytes of its last \w+ are missing/, '最后一部分缺 {1} 字节'],
    [/^bytes that its first frame counts are missing/, '比第一帧所记的字节数少'],
    [/^its last page is missing/, '缺最后一页'],
  ],
  header_repaired: [
    [/^(\d+) bytes stand in front of the file, and were left out/, '文件前多出 {1} 字节，已略去'],
    [/^(\d+) WAV files follow one another; all were read/, '共 {1} 个 WAV 首尾相接，全部已读'],
    [/^the length of its samples is a placeholder, \w+; all (\d+) bytes were read/, '文件头中的长度只是占位，已读完全部 {1} 字节'],
  ],
  damaged: [
    [/^(\d+) packets? could not be decoded/, '{1} 个数据包无法解码'],
    [/^(\d+) packets? (?:was|were) decoded although something in (?:it|them) is wrong/, '{1} 个数据包有误，仍已解码'],
    [/^its structure is broken in (\d+) places?, the first at byte (\d+)/, '结构有 {1} 处损坏，第一处在第 {2} 字节'],
    [/^its structure is broken/, '结构有损坏'],
    [/^(\d+) of (\d+) ms are missing/, '全长 {2ms}，缺 {1ms}', '{1ms} of {2ms} are missing'],
    [/^(\d+) ms are missing/, '缺 {1ms}'],
    [/^by its own clock (\d+) ms are missing/, '按其自身的时间，缺 {1ms}'],
    [/^(\d+) bytes there, as many as about (\d+) ms take, are no audio/, '其中 {1} 字节（约合 {2ms}）不是音频'],
  ],
  joined: [
    [/^another file begins at byte (\d+), and was not heard: send it by itself/, '另一个文件始于第 {1} 字节，未被检测；请单独上传'],
    [
      /^another file begins at byte (\d+), and was heard only in part: send it by itself/,
      '另一个文件始于第 {1} 字节，只检测了一部分；请单独上传',
    ],
  ],
  other_tracks: [
    [/^track (\d+) of (\d+) was heard; there are: .*/, '共 {2} 条音轨，检测了第 {+1} 条', 'track {+1} of {2} was heard'],
    [
      /^track (\d+) cannot be decoded and is treated as silence/,
      '第 {+1} 条音轨无法解码，以静音代替',
      'track {+1} cannot be decoded and is treated as silence',
    ],
  ],
  late_start: [[/^the sound begins (\d+) ms after the file/, '声音比文件晚 {1ms} 开始']],
  time_gap: [[/^(\d+) pauses in the time stamps, (\d+) ms in all, the first after (\d+) ms/, '共 {1} 处停顿，合计 {2ms}，第一处在 {@3}']],
  channels_cancel: [[/^the mean holds ([\d.]+%) of the energy of the channels/, '混合后只剩 {1} 的能量']],
  very_quiet: [
    [/^the loudest sample is at (-?\d+ dBFS)/, '最响处 {1}'],
    [/^the loudest sample is at digital silence/, '全是数字静音'],
  ],
  clipped: [[/^([\d.]+%) of the samples are at full scale/, '{1} 的采样满幅']],
  beyond_full_scale: [
    [
      /^the largest sample is (\d+) times full scale; 16-bit integers that are kept as floats have to be divided by 32768 first/,
      '最大的采样是满刻度的 {1} 倍；以浮点数保存的 16 位整数须先除以 32768',
    ],
  ],
  band_limited: [[/^what is above (\d+) Hz is (-?\d+) dB below the rest/, '{1} Hz 以上比其余部分低 {2} dB']],
  forced_cuts: [
    [/^(\d+) segments? (?:was|were) cut at the longest allowed duration; the first begins at (\d+) ms/, '共 {1} 段，第一段始于 {@2}'],
  ],
  preset_model: [
    [
      /^preset (\S+) is made for (\S+), which this service does not have: .*; (\S+) answers with the rest of it/,
      '预设 {1} 用的是 {2}，这里没有；由 {3} 按其余设置检测',
      'the preset {1} is made for {2}, which is not here; {3} answers with its other settings',
    ],
  ],
  fallback_model: [[/^.*/, '所设的模型不在这里', 'the model that is set is not here']],
  degraded: [[/^the CPU did the work instead of the device/, '由 CPU 代替完成，结果相同']],
};

/** In any warning about the clock of a file, or about one of several tracks. */
const EVERYWHERE: readonly (readonly [RegExp, string, string?])[] = [
  [/^; (?=\S)/, '；'],
  [/^track (\d+): /, '第 {+1} 条音轨：', 'track {+1}: '],
  [/^silence was put there/, '已补上静音'],
  [/^times count samples, so they are early by that much/, '时间按采样数计，因此早这么多'],
];

/** In the page's own words; what only a newer service says, as that says it, which is English (`foreign`). */
export function detailOf(code: string, detail: string): { parts: Part[]; foreign: boolean } {
  const zh = language.value === 'zh';
  const parts: Part[] = [];
  let rest = detail;
  for (let found = clauseAt(code, rest); rest !== '' && found; found = clauseAt(code, rest)) {
    const [match, chinese, english] = found;
    const words = zh ? chinese : english;
    parts.push(...(words === undefined ? plain(match[0]) : filled(words, match)));
    rest = rest.slice(match[0].length);
  }
  return { parts: rest === '' ? parts : [...parts, ...plain(rest)], foreign: zh && rest !== '' };
}

function clauseAt(code: string, text: string): [RegExpExecArray, string, string?] | null {
  for (const [pattern, chinese, english] of [...(CLAUSES[code] ?? []), ...EVERYWHERE]) {
    const match = pattern.exec(text);
    if (match && match[0] !== '') return [match, chinese, english];
  }
  return null;
}

function filled(words: string, match: RegExpExecArray): Part[] {
  return words.split(/(\{[^}]+\})/).map((piece): Part => {
    const [, how, group, length] = /^\{([@+]?)(\d)(ms)?\}$/.exec(piece) ?? [];
    if (group === undefined) return { text: piece };
    const value = match[Number(group)] ?? '';
    if (how === '@') return { text: clock(Number(value)), atMs: Number(value) };
    if (how === '+') return { text: String(Number(value) + 1) };
    return { text: length ? clock(Number(value)) : value };
  });
}

/** After these words a time is a place and not a length. */
const PLACE = /(?:after|at|from) $/;

/** The service's words, with times as the page writes them. */
function plain(detail: string): Part[] {
  const pieces = detail.replaceAll('`', '').split(/(\d+) ms\b/);
  return pieces.map((piece, at): Part => {
    if (at % 2 === 0) return { text: piece };
    const ms = Number(piece);
    return PLACE.test(pieces[at - 1] ?? '') ? { text: clock(ms), atMs: ms } : { text: clock(ms) };
  });
}
