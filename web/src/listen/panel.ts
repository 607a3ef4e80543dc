/** Which panel of the microphone is open: record to a file, or detect live. */

import { computed, signal } from '@preact/signals';
import { Listening } from './listening';

const shown = signal<Listening | null>(null);

/** Counts whenever somebody asks for a panel while one listens: what is being heard is not thrown away by a slip. */
const refused = signal(0);

async function ask(kind: 'record' | 'live'): Promise<void> {
  const current = shown.value;
  if (current?.running.value) {
    refused.value += 1;
    return;
  }
  await current?.close();
  shown.value = new Listening(kind === 'live', () => {
    shown.value = null;
  });
}

export const listenPanel = { shown, refused, ask, running: computed(() => shown.value?.running.value ?? false) };
