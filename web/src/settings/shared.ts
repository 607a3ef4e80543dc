/** The settings that a new file begins with: those used last, here or in the address that was opened. */

import { signal } from '@preact/signals';
import { recall, remember } from './memory';
import { initialSettings, type Offer, requestOptions, type Settings, settingsFromJson, settingsFromQuery } from './settings';

const STORED = 'vad.settings';

/** Null until the service has told what there is. */
const shared = signal<Settings | null>(null);

/** What the address says goes before what was used last. */
export function sharedSettings(offer: Offer): Settings {
  if (shared.value) return shared.value;
  const kept = settingsFromJson(recall('localStorage', STORED) ?? '', offer) ?? initialSettings(offer);
  const query = new URLSearchParams(location.search);
  const started = query.size > 0 ? settingsFromQuery(query, initialSettings(offer), offer) : kept;
  shared.value = started;
  return started;
}

/** From now on new files begin with these, now and at the next visit; the address says them. */
export function shareSettings(settings: Settings, offer: Offer): void {
  shared.value = settings;
  remember('localStorage', STORED, JSON.stringify(settings));
  const query = new URLSearchParams(Object.entries(requestOptions(settings, offer)).map(([name, value]) => [name, String(value)]));
  const text = query.toString();
  // Browsers refuse more than some hundred of these in half a minute, which dragging a slider comes to: the last counts.
  clearTimeout(writing);
  writing = window.setTimeout(() => history.replaceState(null, '', text ? `?${text}` : location.pathname), 250);
}

let writing = 0;
