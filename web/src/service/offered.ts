/** The catalogue of the service that this page is of: asked for once, and again when a model has come in. */

import { signal } from '@preact/signals';
import { listModels, offeredOptions } from './api';
import { Catalogue } from './catalogue';
import { Problem } from './problem';

const AGAIN_MS = 2000;

/** The one of this service; null until it has been told. */
export const catalogue = signal<Catalogue | null>(null);
let pending: Promise<Catalogue> | null = null;

/** Waits while the service loads its models; after any other failure the next call tries again. */
export function fetchCatalogue(): Promise<Catalogue> {
  pending ??= patiently().catch((error: unknown) => {
    pending = null;
    throw error;
  });
  return pending;
}

/** After the first use of a model that was not loaded before. */
export async function reloadCatalogue(): Promise<void> {
  pending = null;
  await fetchCatalogue();
}

async function patiently(): Promise<Catalogue> {
  for (;;) {
    try {
      catalogue.value = new Catalogue(...(await Promise.all([listModels(), offeredOptions()])));
      return catalogue.value;
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'not_ready')) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
