/** Every text of the page in both languages, and the switch between them. */

import { recall, remember } from './memory';
import { TEXTS, type TextKey } from './texts';

export type Language = 'zh' | 'en';
export type Args = Record<string, string | number>;

const STORED = 'vad.language';
const ATTRIBUTES = { text: '', label: 'aria-label', title: 'title', placeholder: 'placeholder' } as const;
type Place = keyof typeof ATTRIBUTES;

/** A text that is not among the page's own: the service's words, or a name that only some have. */
export interface Both {
  zh: string;
  en: string;
}
export type Words = TextKey | Both;

const bound = new WeakMap<Element, Map<Place, { words: Words; args: Args }>>();
const listeners = new Set<() => void>();
let current: Language = remembered() ?? (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');

function remembered(): Language | null {
  const value = recall('localStorage', STORED);
  return value === 'zh' || value === 'en' ? value : null;
}

export function language(): Language {
  return current;
}

/** The text in the present language; `{name}` is replaced by `args.name`. */
export function t(words: Words, args: Args = {}): string {
  if (typeof words === 'object') return words[current];
  return TEXTS[words][current === 'zh' ? 0 : 1].replace(/\{(\w+)\}/g, (_, name: string) => String(args[name] ?? ''));
}

/** Gives an element a text (or an attribute) that follows the language. */
export function setText(element: Element, words: Words, args: Args = {}, place: Place = 'text'): void {
  const places = bound.get(element) ?? new Map();
  places.set(place, { words, args });
  bound.set(element, places);
  element.setAttribute('data-t', '');
  write(element, place, t(words, args));
}

function write(element: Element, place: Place, text: string): void {
  if (place === 'text') element.textContent = text;
  else element.setAttribute(ATTRIBUTES[place], text);
}

export function onLanguage(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function setLanguage(next: Language): void {
  current = next;
  remember('localStorage', STORED, next);
  applyLanguage();
}

export function applyLanguage(): void {
  document.documentElement.lang = current === 'zh' ? 'zh-CN' : 'en';
  document.title = t('pageTitle');
  for (const element of document.querySelectorAll('[data-t]')) {
    for (const [place, { words, args }] of bound.get(element) ?? []) write(element, place, t(words, args));
  }
  for (const listener of listeners) listener();
}
