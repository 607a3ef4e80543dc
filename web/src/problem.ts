/** What went wrong, in the service's words; asks for the key when that is what is missing. */

import { Problem, setApiKey } from './api';
import { h, uniqueId } from './dom';
import type { TextKey } from './texts';

export interface Again {
  key: TextKey;
  run: () => void;
}

export class ProblemBox {
  readonly element = h('div', { class: 'problem', role: 'alert', hidden: true });

  clear(): void {
    this.element.hidden = true;
    this.element.classList.remove('calm');
    this.element.replaceChildren();
  }

  /** `again`: offered as a button of this text, where it may help. */
  show(error: unknown, again?: Again): void {
    const problem = error instanceof Problem ? error : new Problem('', String(error instanceof Error ? error.message : error), '', 0);
    this.clear();
    if (problem.status === 401) this.element.append(keyForm(() => again?.run()));
    this.element.append(...describe(problem));
    if (again && problem.status !== 401 && !problem.lasting) this.element.append(button(again));
    this.element.hidden = false;
  }

  /** A notice that is the page's own. */
  tell(key: TextKey, args: Record<string, string> = {}): void {
    this.clear();
    this.element.append(h('p', { t: [key, args] }));
    this.element.hidden = false;
  }

  /** What the person has wished, and may take back: no fault. */
  note(key: TextKey, again: Again): void {
    this.tell(key);
    this.element.classList.add('calm');
    this.element.append(button(again));
  }
}

function button({ key, run }: Again): HTMLElement {
  return h('button', { type: 'button', t: key, onclick: () => run() });
}

function describe(problem: Problem): Node[] {
  if (problem.code === 'network') return [h('strong', { t: 'networkTitle' }), h('p', { t: 'networkDetail' })];
  if (problem.code === 'no_such_analysis') return [h('strong', { t: 'goneTitle' }), h('p', { t: 'goneDetail' })];
  if (problem.code === 'unreadable') return [h('strong', { t: 'unreadableTitle' }), h('p', { t: 'unreadableDetail' })];
  if (problem.code === 'no_stream') return [h('strong', { t: 'noStreamTitle' }), h('p', { t: 'noStreamDetail' })];
  return [h('strong', {}, problem.title), h('p', {}, problem.detail)];
}

function keyForm(done: () => void): HTMLElement {
  const id = uniqueId('key');
  const field = h('input', { id, type: 'password', autocomplete: 'off', required: true });
  const form = h(
    'form',
    { class: 'key' },
    h('strong', { t: 'keyTitle' }),
    h('label', { for: id, t: 'keyLabel' }),
    h('span', { class: 'row' }, field, h('button', { type: 'submit', class: 'primary', t: 'keySubmit' })),
    h('p', { class: 'hint', t: 'keyHint' }),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    setApiKey(field.value.trim());
    done();
  });
  return form;
}
