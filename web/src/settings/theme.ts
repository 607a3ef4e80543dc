/** Light, dark, or as the system has it. */

import { computed, effect, signal } from '@preact/signals';
import { recall, remember } from './memory';
import { printing } from './printing';

export type Theme = 'auto' | 'light' | 'dark';

const STORED = 'vad.theme';
const ORDER: readonly Theme[] = ['auto', 'light', 'dark'];
const systemDark = matchMedia('(prefers-color-scheme: dark)');
const dark = signal(systemDark.matches);
systemDark.addEventListener('change', () => {
  dark.value = systemDark.matches;
});

export const theme = signal<Theme>(remembered());

function remembered(): Theme {
  const value = recall('localStorage', STORED);
  return value === 'light' || value === 'dark' ? value : 'auto';
}

export function nextTheme(): void {
  const next = ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length] ?? 'auto';
  remember('localStorage', STORED, next);
  theme.value = next;
}

const look = computed(() => (!printing.value && (theme.value === 'dark' || (theme.value === 'auto' && dark.value)) ? 'dark' : 'light'));
function applyLook(): void {
  document.documentElement.dataset.theme = look.value;
}
effect(applyLook);

const COLOURS = [
  'ink',
  'muted',
  'line',
  'card',
  'raised',
  'wave',
  'wave-played',
  'cursor',
  'region',
  'region-edge',
  'region-selected',
  'curve',
  'curve-fill',
  'threshold',
  'lane-a',
  'lane-b',
  'lane-marks',
  'lane-singing',
  'lane-music',
  'lane-overlap',
  'only-a',
  'only-b',
  'font-numbers',
] as const;
export type Palette = Record<(typeof COLOURS)[number], string>;

/** The style sheet's colours, for what is drawn on a canvas; new ones with every change of the look. */
export const palette = computed<Palette>(() => {
  // Whoever asks first: the style sheet has to have the look whose colours are read.
  applyLook();
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Palette;
});
