/** A line for a shell that gives the same answer. */

import { address, apiKey } from '../service/api';
import type { OptionValues } from '../service/types';

export function commandLine(fileName: string, request: OptionValues): string {
  const form = `file=@"${fileName.replace(/(["\\])/g, '\\$1')}"`;
  const key = apiKey() ? ' -H "X-API-Key: $VAD_KEY"' : '';
  return `curl${key} -F ${quoted(form)} ${quoted(address('vad', request))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
