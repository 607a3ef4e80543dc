/** Model, mode and options of one card or stream. */

import type { Problem } from './api';
import { h, uniqueId } from './dom';
import { Field } from './field';
import { setText } from './i18n';
import { modeHelp, modeName } from './names';
import type { Options } from './options';

/** So many options are all shown; of more the first few, which services list by weight, and the rest on demand. */
const FEW = 9;
const FIRST = 3;

export class SettingsPanel {
  readonly element: HTMLElement;
  private readonly chooser: HTMLElement;
  private readonly select: HTMLSelectElement;
  private readonly loading = h('p', { class: 'hint', t: 'modelLoads' });
  private readonly modelComplaint = h('p', { class: 'complaint', role: 'alert', hidden: true });
  private readonly modes = h('fieldset', { class: 'modes' }, h('legend', { t: 'mode' }));
  private readonly radios: HTMLInputElement[];
  private readonly rows = h('div', { class: 'options' });
  private readonly fields = new Map<string, Field>();
  private showNoPreset: () => void = () => undefined;
  /** Which options there are fields for. */
  private drawn = '';

  /** `changed` is called with every change, of the model too. */
  constructor(
    readonly options: Options,
    private readonly changed: () => void,
  ) {
    const id = uniqueId('model');
    this.select = h('select', { id, onchange: () => this.takeModel() });
    this.chooser = h('div', { class: 'model' }, h('label', { for: id, t: 'model' }), this.select, this.loading, this.modelComplaint);
    if (!options.live) this.chooser.insertBefore(h('p', { class: 'hint', t: 'modelHint' }), this.loading);
    this.radios = options.catalogue.modes.map((mode) => this.radio(mode, id));
    this.element = h('div', { class: 'settings' }, this.presets(id), this.chooser, this.modes, this.rows, this.resetButton());
    this.refresh();
  }

  /** Fills in the settings; afterwards each can be changed. */
  private presets(group: string): HTMLElement {
    const { presets } = this.options.catalogue;
    const id = `preset-${group}`;
    const choices = presets.map(({ name, title }) => h('option', { value: name, title }, name));
    const select = h('select', { id, 'data-preset': '' }, h('option', { value: '', t: 'presetNone' }), ...choices);
    select.addEventListener('change', () => {
      const chosen = presets.find(({ name }) => name === select.value);
      if (chosen) this.options.use(chosen);
      else this.options.reset();
      this.update();
    });
    this.showNoPreset = () => (select.value = '');
    return h('div', { class: 'model preset', hidden: presets.length === 0 }, h('label', { for: id, t: 'preset' }), select);
  }

  private radio(mode: string, group: string): HTMLInputElement {
    const choose = (): void => {
      this.options.mode = mode;
      this.update();
    };
    const radio = h('input', { type: 'radio', name: `mode-${group}`, value: mode, onchange: choose });
    this.modes.append(h('label', {}, radio, h('span', { t: modeName(mode) })));
    return radio;
  }

  private resetButton(): HTMLElement {
    const reset = (): void => {
      this.showNoPreset();
      this.options.reset();
      this.update();
    };
    return h('button', { type: 'button', class: 'quiet', t: 'reset', onclick: reset });
  }

  private takeModel(): void {
    this.options.model = this.select.value;
    this.update();
  }

  private update(): void {
    this.refresh();
    this.changed();
  }

  /** Shows the options as they are. */
  refresh(): void {
    const { options } = this;
    this.listModels();
    for (const radio of this.radios) {
      radio.checked = radio.value === options.mode;
      if (radio.parentElement) setText(radio.parentElement, modeHelp(radio.value, options.title(radio.value)), {}, 'title');
    }
    const { schemas } = options;
    // A mode may have other options for another model.
    const wanted = JSON.stringify([options.mode, schemas]);
    if (wanted !== this.drawn) this.draw();
    this.drawn = wanted;
    for (const [name, field] of this.fields) field.show(options.get(name));
  }

  private listModels(): void {
    const { select, options } = this;
    const models = options.catalogue.models(options.live);
    this.chooser.hidden = models.length < 2;
    if (models.some(({ name }, at) => select.options[at]?.value !== name)) {
      select.replaceChildren(...models.map(({ name, title }) => h('option', { value: name }, title === name ? name : `${title} (${name})`)));
    }
    select.value = options.model;
    this.loading.hidden = models.find(({ name }) => name === options.model)?.loaded ?? true;
  }

  private draw(): void {
    this.fields.clear();
    for (const [name, schema] of Object.entries(this.options.schemas)) {
      const take = (value: string | number | boolean): void => {
        this.options.set(name, value);
        this.update();
      };
      this.fields.set(name, new Field(name, schema, take));
    }
    const rows = [...this.fields.values()].map(({ element }) => element);
    const shown = rows.length > FEW ? FIRST : rows.length;
    this.rows.replaceChildren(...rows.slice(0, shown));
    if (shown === rows.length) return;
    const more = h('summary', { t: ['moreOptions', { count: rows.length - shown }] });
    this.rows.append(h('details', {}, more, h('div', { class: 'options' }, ...rows.slice(shown))));
  }

  /** Says what the service has against an option, beside it; false where it is not among these. */
  complain({ option, detail: told }: Problem): boolean {
    this.content();
    if (option === null) return false;
    // The name stands beside it.
    const detail = told.startsWith(`${option}: `) ? told.slice(option.length + 2) : told;
    if (option === 'model' && !this.chooser.hidden) {
      this.modelComplaint.textContent = detail;
      this.modelComplaint.hidden = false;
      return true;
    }
    const field = this.fields.get(option);
    field?.complain(detail);
    const folded = field?.element.closest('details');
    if (folded) folded.open = true;
    return field !== undefined;
  }

  /** There is nothing to complain of any more. */
  content(): void {
    this.modelComplaint.hidden = true;
    for (const field of this.fields.values()) field.complain(null);
  }
}
