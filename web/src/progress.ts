/** A bar with a word, and a way out. */

import { h, uniqueId } from './dom';
import { setText, type Args } from './i18n';
import type { TextKey } from './texts';

export class ProgressBar {
  readonly element: HTMLElement;
  private readonly bar: HTMLProgressElement;
  private readonly words: HTMLElement;
  private readonly stop: HTMLButtonElement;
  private cancel: (() => void) | null = null;

  constructor() {
    const id = uniqueId('progress');
    this.bar = h('progress', { 'aria-labelledby': id, max: 1 });
    this.words = h('span', { id, role: 'status' });
    this.stop = h('button', { type: 'button', class: 'quiet', t: 'cancel', onclick: () => this.cancel?.() });
    this.element = h('div', { class: 'progress', hidden: true }, this.words, this.stop, this.bar);
  }

  /** `share`: 0 to 1; null while that is not known. */
  show(key: TextKey, args: Args, share: number | null, cancel: (() => void) | null = this.cancel): void {
    this.cancel = cancel;
    this.element.hidden = false;
    this.stop.hidden = cancel === null;
    setText(this.words, key, args);
    if (share === null) this.bar.removeAttribute('value');
    else this.bar.value = Math.min(1, share);
  }

  hide(): void {
    this.cancel = null;
    this.element.hidden = true;
  }
}

/** `12.3 MB`. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;
}
