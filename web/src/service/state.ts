/** How the service is, as it tells at `/health`. */

import { signal } from '@preact/signals';
import { health as fetchHealth } from './api';
import type { Health } from './types';

const AGAIN_MS = 2000;

/** Null until it has been told. */
export const health = signal<Health | null>(null);
/** It could not be asked. */
export const unreachable = signal(false);

/** Asks; while models are being loaded, again and again. */
export async function watchHealth(): Promise<void> {
  try {
    health.value = await fetchHealth();
    unreachable.value = false;
    if (health.value.status === 'loading') setTimeout(() => void watchHealth(), AGAIN_MS);
  } catch {
    unreachable.value = true;
  }
}
