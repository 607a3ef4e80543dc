/** The files on the page, and which of them is open. */

import { computed, effect, signal } from '@preact/signals';
import type { TextKey } from '../text/texts';
import { Clip } from './clip';

export const clips = signal<readonly Clip[]>([]);
/** At most one is open, so that a dozen files take no more room than their table. */
export const open = signal<Clip | null>(null);
/** What was taken away last, and can be had back. */
export const removed = signal<readonly { clip: Clip; place: number }[] | null>(null);

/** The first of them is opened. `origin`: where they are from, if not from the person. */
export function addFiles(files: Iterable<File>, origin: TextKey | null = null): void {
  const added = [...files].map((file) => new Clip(file, null, origin));
  const [first] = added;
  if (!first) return;
  clips.value = [...clips.value, ...added];
  open.value = first;
  for (const clip of added) clip.a.analyse();
}

export function removeClip(clip: Clip): void {
  forgetRemoved();
  const place = clips.value.indexOf(clip);
  clip.player.pause();
  clip.a.giveUp();
  clips.value = clips.value.filter((one) => one !== clip);
  if (open.value === clip) open.value = clips.value[Math.min(place, clips.value.length - 1)] ?? null;
  removed.value = [{ clip, place }];
}

export function removeAll(): void {
  forgetRemoved();
  const all = clips.value.map((clip, place) => ({ clip, place }));
  for (const { clip } of all) clip.player.pause();
  clips.value = [];
  open.value = null;
  removed.value = all;
}

export function restoreRemoved(): void {
  const back = removed.value ?? [];
  removed.value = null;
  const list = [...clips.value];
  for (const { clip, place } of back) list.splice(place, 0, clip);
  clips.value = list;
  open.value = back[0]?.clip ?? open.value;
}

export function forgetRemoved(): void {
  for (const { clip } of removed.value ?? []) clip.close();
  removed.value = null;
}

/** Settings of one file for all of them. */
export function applyToAll(clip: Clip): void {
  const settings = clip.a.settings.value;
  if (!settings) return;
  for (const other of clips.value) if (other !== clip) other.a.change(settings);
}

/** Whether something is here that leaving the page would lose. */
const wouldLose = computed(() => clips.value.some(({ editing, state }) => editing.unsaved.value || state.value !== 'failed'));

/** The browser then asks before the page goes. */
export function guardAgainstLoss(alsoWhile: () => boolean): void {
  const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
  effect(() => {
    if (wouldLose.value || alsoWhile()) window.addEventListener('beforeunload', ask);
    else window.removeEventListener('beforeunload', ask);
  });
}
