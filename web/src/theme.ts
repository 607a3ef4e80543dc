/** Light, dark, or as the system has it. */

import { recall, remember } from './memory';

export type Theme = 'auto' | 'light' | 'dark';

const STORED = 'vad.theme';
const ORDER: readonly Theme[] = ['auto', 'light', 'dark'];
const listeners = new Set<() => void>();
const systemDark = matchMedia('(prefers-color-scheme: dark)');

export function theme(): Theme {
  const value = recall('localStorage', STORED);
  return value === 'light' || value === 'dark' ? value : 'auto';
}

/** Called after colours have changed, whoever changed them. */
export function onTheme(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function nextTheme(): Theme {
  const next = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length] ?? 'auto';
  remember('localStorage', STORED, next);
  applyTheme();
  return next;
}

export function applyTheme(): void {
  const dark = theme() === 'dark' || (theme() === 'auto' && systemDark.matches);
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
  for (const listener of listeners) listener();
}

/** A colour of the style sheet, for what is drawn on a canvas. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

systemDark.addEventListener('change', applyTheme);
