/** What the page calls what it knows by name. All else has the service's own words. */

import type { Both } from './i18n';

/** [Chinese name, English name, Chinese meaning]; the English meaning is the service's. */
const OPTIONS: Record<string, readonly [string, string, string]> = {
  max_end_silence_time: ['句尾静音', 'End silence', '静音达到此长度就断开；越小断得越早、越多'],
  speech_noise_thres: ['语音门限', 'Speech margin', '语音概率须比静音概率高出多少；越高越严'],
  max_single_segment_time: ['最长一段', 'Longest segment', '超过就强制切开'],
  window_size_ms: ['平滑窗', 'Smoothing window', '对逐帧判断做平滑的窗长'],
  sil_to_speech_time_thres: ['起始所需语音', 'Speech to begin', '窗内语音达到此长度，一段开始；不超过平滑窗'],
  speech_to_sil_time_thres: ['静音所余语音', 'Speech left at an end', '窗内语音不多于此，算静音；不超过平滑窗，且小于句尾静音'],
  lookback_time_start_point: ['起点前移', 'Start moved back', '起点向前移这么多（需开启首尾延伸）'],
  lookahead_time_end_point: ['终点后留', 'Kept after an end', '终点之后保留这么多（需开启首尾延伸）'],
  do_extend: ['首尾延伸', 'Extend', '起点前移与终点后留是否生效'],
  detect_mode: ['检测几句', 'Utterances', '1：每一句；0：只要第一句'],
  max_start_silence_time: ['起始静音上限', 'Longest leading silence', '只要第一句时：开头静音超过此长度就放弃'],
  decibel_thres: ['能量门限', 'Least level', '能量更低的帧一律算静音'],
  snr_thres: ['信噪比门限', 'Above the noise', '须比背景噪声高出多少才算语音'],
  noise_frame_num_used_for_snr: ['噪声记忆', 'Noise memory', '估计背景噪声所用的帧数'],
  speech_2_noise_ratio: ['语音偏好', 'Favour of speech', '静音概率的指数；大于 1 偏向语音'],
  split: ['过长时的切点', 'Cut too long ones', 'hard：到限即切，可能在字中间；pause：在最近最不像语音处切'],
  split_window_ms: ['切点搜索范围', 'Search for the cut', '从上限往回多远内寻找切点；至多上限的一半'],
  pad_start_ms: ['起点外扩', 'Start padding', '起点提前多少，代替该模式自己的外扩；小于 0 为推后；不越过相邻的段'],
  pad_end_ms: ['终点外扩', 'End padding', '终点推后多少，代替该模式自己的外扩；小于 0 为提前；不越过相邻的段，空了的段丢弃'],
  merge_gap_ms: ['合并间隙', 'Gaps closed', '间隔不超过此值的相邻两段合为一段；0 为不合并'],
  max_chunk_s: ['块的最长', 'Longest chunk', '把各段装成不超过此长度的块，供识别器使用；留空为不分块'],
  chunk_pad_ms: ['块的留白', 'Chunk padding', '块的两侧多留一点，计入长度，不会伸入相邻的块'],
  threshold: ['起始概率', 'Start threshold', '概率达到此值，语音开始'],
  neg_threshold: ['结束概率', 'End threshold', '低于此值，语音结束；不高于起始概率'],
  min_speech_duration_ms: ['最短语音', 'Shortest speech', '更短的丢弃'],
  min_silence_duration_ms: ['最短静音', 'Shortest silence', '更短的静音不算断开'],
  speech_pad_ms: ['两侧留白', 'Padding', '每侧多留一点，不会伸入相邻的段'],
  max_speech_duration_s: ['最长一段', 'Longest segment', '更长的在附近最不像语音处切开；留空为不限'],
  smooth_window_size: ['平滑窗', 'Smoothing window', '对概率做平滑的帧数；小于 2 为不平滑'],
  speech_threshold: ['语音概率', 'Speech threshold', '平滑后的概率达到此值即为语音'],
  singing_threshold: ['歌声概率', 'Singing threshold', '平滑后的概率达到此值即为歌声'],
  music_threshold: ['音乐概率', 'Music threshold', '平滑后的概率达到此值即为音乐'],
  min_speech_frame: ['最短语音', 'Shortest speech', '更短的丢弃'],
  max_speech_frame: ['最长一段', 'Longest segment', '超过就强制切开'],
  min_event_frame: ['最短一段', 'Shortest segment', '更短的丢弃'],
  max_event_frame: ['最长一段', 'Longest segment', '超过就强制切开'],
  min_silence_frame: ['最短静音', 'Shortest silence', '静音达到此长度就断开，并留在段内'],
  merge_silence_frame: ['合并间隙', 'Gaps filled', '更短的间隙并入；0 为不并'],
  extend_speech_frame: ['两侧延伸', 'Padding', '每侧多留一点'],
  onset: ['起始概率', 'Onset', '概率高于此值，语音开始'],
  offset: ['结束概率', 'Offset', '低于此值，语音结束；不设则同起始概率'],
  min_duration_on: ['最短语音', 'Shortest speech', '更短的丢弃'],
  min_duration_off: ['最短间隙', 'Shortest gap', '更短的间隙并入'],
  pad_onset: ['起点留白', 'Padding before', '每段之前多留一点'],
  pad_offset: ['终点留白', 'Padding after', '每段之后多留一点'],
  pad_start_frame: ['起点前移', 'Start moved back', '起点向前移这么多，至少为平滑窗'],
};

/** How a file is read: the same. */
const AUDIO: Record<string, readonly [string, string, string]> = {
  channel: ['声道', 'Channel', '取各声道的平均、其中一个、最响的一个，或逐个检测'],
  track: ['音轨', 'Track', '文件有多条音轨时取哪一条，从 0 起；all 为每条各成一行；留空为容器默认的一条'],
  clock: ['时间基准', 'Clock', 'samples：按采样数；container：按播放器的时间，丢包处与迟开始处算静音'],
  encoding: ['裸数据编码', 'Encoding', '没有文件头的裸采样如何编码；普通文件不必设'],
  sample_rate: ['采样率', 'Sample rate', '裸采样的采样率；留空为 16000，μ 律与 A 律为 8000'],
  channels: ['声道数', 'Channels', '裸采样交错存放的声道数；留空为 1'],
};

/** [Chinese name, English name, Chinese meaning]; the English meaning is the service's. */
const PRESETS: Record<string, readonly [string, string, string, string?]> = {
  people: [
    '有人说话的地方',
    'Where people speak',
    '用这里最好的模型，紧贴说话的部分。',
    'The best model here, close around what is spoken.',
  ],
  asr: ['语音识别', 'Speech recognition', '送去识别：一句不漏，装成不超过 30 秒、在停顿处切开的块。'],
  subtitles: ['字幕', 'Subtitles', '做字幕：一行一个短句。'],
  commands: ['语音指令', 'Commands', '指令与对话轮次：很快报出结尾，小声也听得到。'],
  telephone: ['电话', 'Telephone', '电话与其他 8 kHz 音频。'],
  noisy: ['嘈杂环境', 'Noisy', '人声之下有噪声或音乐。'],
  labelling: ['标注', 'Labelling', '供标注：边界放在人会放的地方。'],
};

const SUM = ['几个模型的平均：更准，也更慢。', 'The mean of several models: more accurate, and slower.'] as const;

/** What forms of answer are called, where their names do not say it; [Chinese, English]. */
const FORMS: Record<string, readonly [string, string]> = {
  json: ['JSON', 'JSON'],
  ndjson: ['NDJSON', 'NDJSON'],
  funasr: ['FunASR', 'FunASR'],
  csv: ['CSV', 'CSV'],
  audacity: ['Audacity', 'Audacity'],
  rttm: ['RTTM', 'RTTM'],
  srt: ['SRT', 'SRT'],
  vtt: ['WebVTT', 'WebVTT'],
  textgrid: ['TextGrid', 'TextGrid'],
  clips: ['faster-whisper', 'faster-whisper'],
  whisperx: ['whisperX', 'whisperX'],
  kaldi: ['Kaldi', 'Kaldi'],
  lhotse: ['Lhotse', 'Lhotse'],
  labelstudio: ['Label Studio', 'Label Studio'],
  eaf: ['ELAN', 'ELAN'],
  md: ['Markdown', 'Markdown'],
  wav: ['只留语音 WAV', 'Speech only, WAV'],
  zip: ['逐段 WAV（ZIP）', 'A WAV per segment (ZIP)'],
};

/** What each model is good for, in a line; [Chinese, English]. */
const MODELS: Record<string, readonly [string, string]> = {
  fsmn: ['最快；适合送去识别，保留句中停顿。', 'The quickest. Made to feed speech recognition: it keeps the pauses inside an utterance.'],
  silero: ['紧贴语音；干净的对话里很准。', 'Close around speech. Good in clean conversation.'],
  'fsmn-8k': ['用于 8 kHz 电话音频的 FSMN。', 'FSMN-VAD for telephone calls and other audio of 8 kHz.'],
  'silero-8k': ['用于电话等 8 kHz 音频。', 'For telephone calls and other audio of 8 kHz.'],
  firered: ['噪声里也稳；整个文件一起看。', 'Steady in noise. Looks at the whole file.'],
  'firered-stream': ['电话与噪声里都好，也能实时。', 'Good by telephone and in noise, and it follows live speech.'],
  'firered-aed': ['还分出歌声与音乐。', 'Tells singing and music from speech.'],
  pyannote: [
    '会议、远处说话与歌唱最好；能找出多人同时说话。',
    'The best single model for meetings, far speech and singing. Finds where two people talk at once.',
  ],
};

const MODES: Record<string, readonly [string, string, string]> = {
  endpoint: ['端点', 'End-point', '适合送去识别：保留句中停顿'],
  tight: ['贴紧', 'Tight', '紧贴说出的部分'],
  smoothed: ['平滑', 'Smoothed', '先平滑概率，再由四态机切分'],
  binarize: ['双门限', 'Binarize', 'pyannote.audio 的门限与最短时长'],
};

/** Units and labels. */
const WORDS: Record<string, string> = { frames: '帧', speech: '语音', singing: '歌声', music: '音乐', overlap: '重叠' };

/** Null for an option that only the service knows. */
export function optionName(name: string): Both | null {
  const known = OPTIONS[name] ?? AUDIO[name];
  return known ? { zh: known[0], en: known[1] } : null;
}

export function optionHelp(name: string, told = ''): Both {
  const plain = told.replaceAll('`', '');
  return { zh: (OPTIONS[name] ?? AUDIO[name])?.[2] ?? plain, en: plain };
}

/** A sum of models is said to be what it is. */
export function modelHelp(name: string): Both {
  const [zh, en] = MODELS[name] ?? (name.includes('+') ? SUM : ['', '']);
  return { zh, en };
}

export function modeName(mode: string): Both {
  const known = MODES[mode];
  return { zh: known?.[0] ?? mode, en: known?.[1] ?? mode };
}

export function modeHelp(mode: string, told: string): Both {
  return { zh: MODES[mode]?.[2] ?? told, en: told };
}

/** A unit or a label. */
export function word(told: string): Both {
  return { zh: WORDS[told] ?? told, en: told };
}

export function presetName(name: string): Both {
  const known = PRESETS[name];
  return { zh: known?.[0] ?? name, en: known?.[1] ?? name };
}

export function presetTitle(name: string, told: string): Both {
  const [, , zh = told, en = told] = PRESETS[name] ?? [];
  return { zh, en };
}

export function formName(name: string): Both {
  const known = FORMS[name];
  return { zh: known?.[0] ?? name, en: known?.[1] ?? name };
}
