/** Files and text handed to the person. */

import type { TextKey } from './texts';

export interface ExportForm {
  name: string;
  extension: string;
  /** Shown on the button; a text key where it is translated. */
  label: string;
  key?: TextKey;
  /** Needs the audio, which the service does not keep. */
  fromAudio: boolean;
}

const kept = (name: string, label: string, extension: string): ExportForm => ({ name, label, extension, fromAudio: false });

export const EXPORTS: readonly ExportForm[] = [
  kept('json', 'JSON', 'json'),
  kept('funasr', 'FunASR', 'funasr.json'),
  kept('csv', 'CSV', 'csv'),
  kept('audacity', 'Audacity', 'labels.txt'),
  kept('rttm', 'RTTM', 'rttm'),
  kept('srt', 'SRT', 'srt'),
  kept('vtt', 'WebVTT', 'vtt'),
  kept('textgrid', 'TextGrid', 'TextGrid'),
  kept('md', 'Markdown', 'md'),
  kept('clips', 'faster-whisper', 'clips.json'),
  kept('whisperx', 'whisperX', 'whisperx.json'),
  kept('kaldi', 'Kaldi', 'segments'),
  kept('lhotse', 'Lhotse', 'supervisions.jsonl'),
  kept('labelstudio', 'Label Studio', 'labelstudio.json'),
  kept('eaf', 'ELAN', 'eaf'),
  { name: 'ndjson', label: 'NDJSON', extension: 'ndjson', fromAudio: true },
  { name: 'wav', label: 'WAV', key: 'exportWav', extension: 'speech.wav', fromAudio: true },
  { name: 'zip', label: 'ZIP', key: 'exportZip', extension: 'zip', fromAudio: true },
];

export function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The download has its own hold on the blob once it has begun.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A file's name without its extension. */
export function stem(name: string): string {
  return name.replace(/\.[^.]+$/, '') || name;
}

/** Copies; also on pages that are not secure, where there is no clipboard interface. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}
