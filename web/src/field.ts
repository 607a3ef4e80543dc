/** One option, drawn from its schema: a slider and a number, a box to tick, a choice, or a text. */

import type { Schema, Value } from './api';
import { h, uniqueId } from './dom';
import { setText } from './i18n';
import { optionHelp, optionName, word } from './names';
import { scaleOf, type Scale } from './scale';

type Take = (value: Value) => void;

/** What shows a value and lets it be changed. */
interface Control {
  /** What the label belongs to. */
  main: HTMLElement;
  element: HTMLElement;
  /** A slider, on a line of its own. */
  below?: HTMLElement;
  show(value: Value | undefined): void;
}

export class Field {
  readonly element: HTMLElement;
  private readonly control: Control;
  private readonly complaint: HTMLElement;

  constructor(name: string, schema: Schema, take: Take) {
    const known = optionName(name);
    const help = optionHelp(name, schema.description);
    this.control = controlOf(name, schema, take);
    const id = uniqueId(name);
    this.control.main.id = id;
    this.complaint = h('p', { class: 'complaint', role: 'alert', hidden: true });
    const label = h('label', { for: id }, ...(known ? [h('span', { t: known })] : []), h('code', {}, name));
    this.element = h('div', { class: 'option', 'data-row': name, tTitle: help }, label, this.control.element);
    if (this.control.below) this.element.append(this.control.below);
    // A name alone says little.
    if (!known && help.en) this.element.append(h('p', { class: 'hint', t: help }));
    this.element.append(this.complaint);
  }

  show(value: Value | undefined): void {
    this.control.show(value);
  }

  /** What the service has against the value; null: nothing. */
  complain(detail: string | null): void {
    this.complaint.hidden = detail === null;
    this.complaint.textContent = detail;
    for (const control of this.element.querySelectorAll('[data-option]')) {
      if (detail === null) control.removeAttribute('aria-invalid');
      else control.setAttribute('aria-invalid', 'true');
    }
  }
}

function controlOf(name: string, schema: Schema, take: Take): Control {
  if (schema.enum) return choice(name, schema.enum, take);
  if (schema.type === 'boolean') return tick(name, take);
  const number = [schema, ...(schema.anyOf ?? [])].find(({ type }) => type === 'number' || type === 'integer');
  const instead = schema.anyOf?.find((one) => one.const !== undefined)?.const;
  return number ? amount(name, { ...schema, ...number }, instead, take) : text(name, take);
}

function choice(name: string, values: readonly Value[], take: Take): Control {
  const select = h('select', { 'data-option': name }, ...values.map((value) => h('option', { value: String(value) }, String(value))));
  select.addEventListener('change', () => take(values[select.selectedIndex] ?? select.value));
  return { main: select, element: value(select), show: (value) => (select.selectedIndex = values.indexOf(value ?? '')) };
}

function tick(name: string, take: Take): Control {
  const box = h('input', { type: 'checkbox', 'data-option': name });
  box.addEventListener('change', () => take(box.checked));
  return { main: box, element: value(box), show: (value) => (box.checked = value === true) };
}

function text(name: string, take: Take): Control {
  const field = h('input', { type: 'text', 'data-option': name });
  field.addEventListener('change', () => take(field.value));
  return { main: field, element: value(field), show: (value) => (field.value = String(value ?? '')) };
}

/** `instead`: what an empty field stands for, where the service takes something that is no number. */
function amount(name: string, schema: Schema, instead: Value | undefined, take: Take): Control {
  const scale = scaleOf(schema);
  const { min, max, step } = scale;
  const placeholder = instead === undefined ? undefined : instead === 'inf' ? '∞' : String(instead);
  const field = h('input', { type: 'number', min, max, step, placeholder, 'data-option': name });
  let shown: Value | undefined;
  // An answer that comes while somebody types takes nothing from them.
  let typing = false;
  const show = (value: Value | undefined): void => {
    shown = value;
    const said = typeof value === 'number' ? String(value) : '';
    if (!typing && field.value !== said) field.value = said;
  };
  field.addEventListener('input', () => (typing = true));
  field.addEventListener('change', () => {
    typing = false;
    const number = field.valueAsNumber;
    if (!Number.isNaN(number)) take(scale.fit(number));
    else if (instead !== undefined && field.value === '' && !field.validity.badInput) take(instead);
    else show(shown);
  });
  field.addEventListener('blur', () => {
    typing = false;
    show(shown);
  });
  const unit = h('span', { class: 'unit', t: word(schema.unit ?? '') });
  const element = value(field, unit);
  const range = slider(scale, schema.unit ?? '', take);
  if (!range) return { main: field, element, show };
  setText(field, 'value', { name }, 'label');
  return {
    main: range.main,
    element,
    below: range.main,
    show: (value) => {
      show(value);
      range.show(value);
    },
  };
}

function slider({ slider: scale }: Scale, unit: string, take: Take): Pick<Control, 'main' | 'show'> | null {
  if (!scale) return null;
  const { from, to, step, valueAt, placeOf } = scale;
  const range = h('input', { type: 'range', min: from, max: to, step });
  range.addEventListener('input', () => take(valueAt(range.valueAsNumber)));
  const show = (value: Value | undefined): void => {
    if (typeof value !== 'number') return;
    // Places beside each other may stand for the same value; the one that was chosen is kept.
    if (valueAt(range.valueAsNumber) !== value) range.value = String(placeOf(value));
    range.setAttribute('aria-valuetext', `${value} ${unit}`.trim());
    range.style.setProperty('--filled', `${((range.valueAsNumber - from) / (to - from)) * 100}%`);
  };
  return { main: range, show };
}

function value(...children: HTMLElement[]): HTMLElement {
  return h('span', { class: 'value' }, ...children);
}
