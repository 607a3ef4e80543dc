/** Every text of the page in both languages, and the switch between them. */

import { signal } from '@preact/signals';
import { recall, remember } from '../settings/memory';
import { TEXTS, type TextKey } from './texts';

export type Language = 'zh' | 'en';
export type Args = Record<string, string | number>;

/** A text that is not among the page's own: the service's words, or a name that only some have. */
export interface Both {
  zh: string;
  en: string;
}
export type Words = TextKey | Both;

const STORED = 'vad.language';

export const language = signal<Language>(remembered() ?? (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'));

function remembered(): Language | null {
  const value = recall('localStorage', STORED);
  return value === 'zh' || value === 'en' ? value : null;
}

export function setLanguage(next: Language): void {
  language.value = next;
  remember('localStorage', STORED, next);
}

/** The text in the present language; `{name}` is replaced by `args.name`. What calls it while it renders follows the language. */
export function t(words: Words, args: Args = {}): string {
  if (typeof words === 'object') return words[language.value];
  return TEXTS[words][language.value === 'zh' ? 0 : 1].replace(/\{(\w+)\}/g, (_, name: string) => String(args[name] ?? ''));
}

/** The key with this name, where there is a text for it. */
export function keyNamed(name: string): TextKey | null {
  return name in TEXTS ? (name as TextKey) : null;
}
