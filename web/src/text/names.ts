/** What the page calls what it knows by name. All else has the service's own words. */

import { modes, options, presets, words } from '../../../app/texts/options.json';
import type { Both } from './i18n';

/** What the service, its documents and its command line say as well has one source; the English meaning is the service's. */
interface Named {
  zh: string;
  en: string;
  /** In Chinese. */
  meaning: string;
}
const OPTIONS: Record<string, Named> = options;
const MODES: Record<string, Named> = modes;
/** Units and labels. */
const WORDS: Record<string, string> = words;

/** The service's presets, and the page's own first one. */
const PRESETS: Record<string, { zh: string; en: string; title: string; titleEn?: string }> = {
  people: {
    zh: '有人说话的地方',
    en: 'Where people speak',
    title: '用这里最好的模型，紧贴说话的部分。',
    titleEn: 'The best model here, close to the spoken words.',
  },
  ...presets,
};

const SUM = ['几个模型的平均；比其中每一个都慢。', 'The mean of several models, slower than each of them.'] as const;

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
  fsmn: [
    '与 FunASR 的语音段完全一致；适合送去识别，保留句中停顿。',
    'FunASR’s segments, exactly. Made to feed speech recognition: it keeps the pauses inside an utterance.',
  ],
  silero: ['紧贴语音，耗时少；有噪声也行。', 'Close around speech, also in noise, in little time.'],
  'fsmn-8k': ['用于 8 kHz 电话音频的 FSMN。', 'FSMN-VAD for telephone calls and other audio of 8 kHz.'],
  'silero-8k': ['用于电话等 8 kHz 音频。', 'For telephone calls and other audio of 8 kHz.'],
  firered: ['干净的录音；电话里会漏检。', 'Clean recordings. It misses speech by telephone.'],
  'firered-stream': ['电话与噪声里都好，也能实时。', 'Good by telephone and in noise, and it follows live speech.'],
  'firered-aed': ['还分出歌声与音乐。', 'Tells singing and music from speech.'],
  pyannote: [
    '会议、电话、远处说话与歌唱；能找出多人同时说话。',
    'Meetings, telephone, far or sung speech. Finds where several people talk at once.',
  ],
  'silero+firered': ['不论条件如何都能准确找到语音，耗时适中。', 'Finds speech wherever it is, in moderate time.'],
  'silero+firered-stream': ['能实时的里面最准。', 'The most accurate that follows live speech.'],
  'silero+firered+2*pyannote': ['对话与会议，干净或嘈杂；耗时最多。', 'Conversation and meetings, clean or not; it takes the most time.'],
};

/** Null for an option that only the service knows. */
export function optionName(name: string): Both | null {
  const known = OPTIONS[name];
  return known ? { zh: known.zh, en: known.en } : null;
}

export function optionHelp(name: string, told = ''): Both {
  const plain = told.replaceAll('`', '');
  return { zh: OPTIONS[name]?.meaning ?? plain, en: plain };
}

/** A sum of models is said to be what it is. */
export function modelHelp(name: string): Both {
  const [zh, en] = MODELS[name] ?? (name.includes('+') ? SUM : ['', '']);
  return { zh, en };
}

export function modeName(mode: string): Both {
  const known = MODES[mode];
  return { zh: known?.zh ?? mode, en: known?.en ?? mode };
}

/** As answers have it; on the Chinese page by its Chinese name. */
export function modeInAnswer(mode: string): Both {
  return { zh: modeName(mode).zh, en: mode };
}

export function modeHelp(mode: string, told: string): Both {
  return { zh: MODES[mode]?.meaning ?? told, en: told };
}

/** A unit or a label. */
export function word(told: string): Both {
  return { zh: WORDS[told] ?? told, en: told };
}

export function presetName(name: string): Both {
  const known = PRESETS[name];
  return { zh: known?.zh ?? name, en: known?.en ?? name };
}

export function presetTitle(name: string, told: string): Both {
  const known = PRESETS[name];
  return { zh: known?.title ?? told, en: known?.titleEn ?? told };
}

export function formName(name: string): Both {
  const known = FORMS[name];
  return { zh: known?.[0] ?? name, en: known?.[1] ?? name };
}
