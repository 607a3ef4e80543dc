/** What was odd about a file, though it was answered: a line each. */

import type { Warning } from './api';
import { h } from './dom';
import { TEXTS, type TextKey } from './texts';

export class WarningList {
  readonly element = h('ul', { class: 'warnings', hidden: true, tLabel: 'warnings' });

  show(warnings: readonly Warning[]): void {
    this.element.replaceChildren(...warnings.map(line));
    this.element.hidden = warnings.length === 0;
  }
}

/** In the page's own words where it has some; the figures are the service's. */
function line({ code, detail }: Warning): HTMLElement {
  const key = `warn_${code}`;
  const words = key in TEXTS ? h('span', { t: key as TextKey }) : h('span', {}, code);
  return h('li', { title: detail, 'data-code': code }, words, h('span', { class: 'hint' }, detail));
}
