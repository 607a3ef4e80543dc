/** Mode and sliders of one set of options. */

import { h, uniqueId } from './dom';
import { SLIDERS, type Mode, type Options, type Slider } from './options';

export class SettingsPanel {
  readonly element: HTMLElement;
  private readonly groups: Record<Mode, HTMLElement>;
  private readonly fields = new Map<string, { range: HTMLInputElement; number: HTMLInputElement }>();
  private readonly radios: HTMLInputElement[] = [];

  /** `changed` is called with every move of a slider. */
  constructor(
    readonly options: Options,
    private readonly changed: () => void,
  ) {
    this.groups = { endpoint: h('div', { class: 'sliders' }), tight: h('div', { class: 'sliders' }) };
    for (const slider of SLIDERS) this.groups[slider.mode].append(this.field(slider));
    this.element = h('div', { class: 'settings' }, this.modes(), this.groups.endpoint, this.groups.tight, this.resetButton());
    this.refresh();
  }

  private modes(): HTMLElement {
    const name = uniqueId('mode');
    const choice = (mode: Mode): HTMLElement => {
      const choose = (): void => {
        this.options.mode = mode;
        this.update();
      };
      const radio = h('input', { type: 'radio', name, value: mode, onchange: choose });
      this.radios.push(radio);
      return h('label', { tTitle: mode === 'tight' ? 'modeTightHelp' : 'modeEndpointHelp' }, radio, h('span', { t: mode === 'tight' ? 'modeTight' : 'modeEndpoint' }));
    };
    return h('fieldset', { class: 'modes' }, h('legend', { t: 'mode' }), choice('endpoint'), choice('tight'));
  }

  private resetButton(): HTMLElement {
    const reset = (): void => {
      this.options.reset();
      this.update();
    };
    return h('button', { type: 'button', class: 'quiet', t: 'reset', onclick: reset });
  }

  private field(slider: Slider): HTMLElement {
    const id = uniqueId(slider.name);
    const range = h('input', { id, type: 'range', min: slider.from, max: slider.to, step: slider.step, 'data-option': slider.name });
    const number = h('input', { type: 'number', min: slider.least, max: slider.most, step: slider.step, tLabel: ['value', { name: slider.name }] });
    range.addEventListener('input', () => this.take(slider, range.value));
    number.addEventListener('change', () => this.take(slider, number.value));
    this.fields.set(slider.name, { range, number });
    const label = h('label', { for: id }, h('span', { t: slider.name }), h('code', {}, slider.name));
    const value = h('span', { class: 'value' }, number, h('span', { class: 'unit' }, slider.unit));
    return h('div', { class: 'slider', tTitle: `help_${slider.name}` }, label, value, range);
  }

  private take(slider: Slider, text: string): void {
    const value = Number(text);
    if (text === '' || !Number.isFinite(value)) return this.refresh();
    this.options.set(slider.name, Math.min(slider.most, Math.max(slider.least, value)));
    this.update();
  }

  private update(): void {
    this.refresh();
    this.changed();
  }

  /** Shows the options as they are. */
  refresh(): void {
    for (const [name, { range, number }] of this.fields) {
      const value = String(this.options.get(name));
      if (range.value !== value) range.value = value;
      if (number.value !== value) number.value = value;
      const span = Number(range.max) - Number(range.min);
      range.style.setProperty('--filled', `${((Number(range.value) - Number(range.min)) / span) * 100}%`);
    }
    for (const radio of this.radios) radio.checked = radio.value === this.options.mode;
    this.groups.endpoint.hidden = this.options.mode !== 'endpoint';
    this.groups.tight.hidden = this.options.mode !== 'tight';
  }
}
