/** How much of it is speech. */

import { h } from './dom';
import { setText } from './i18n';
import type { TextKey } from './texts';
import { clock } from './time';

export class SummaryLine {
  readonly element: HTMLElement;
  private readonly values: Record<'segments' | 'speech' | 'silence' | 'duration', HTMLElement>;
  private readonly meter = h('span', { class: 'meter', role: 'img' }, h('span'));

  constructor() {
    const value = (): HTMLElement => h('dd');
    this.values = { segments: value(), speech: value(), silence: value(), duration: value() };
    const list = h('dl');
    for (const [key, element] of Object.entries(this.values)) list.append(h('div', {}, h('dt', { t: key as TextKey }), element));
    this.element = h('div', { class: 'summary' }, list, this.meter);
  }

  /** `chunks`: how many, where they were asked for. */
  show(count: number, speechMs: number, durationMs: number, chunks?: number): void {
    const share = durationMs > 0 ? speechMs / durationMs : 0;
    const percent = (share * 100).toFixed(1);
    if (chunks === undefined) this.values.segments.textContent = String(count);
    else setText(this.values.segments, 'inChunks', { count, chunks });
    this.values.speech.textContent = `${clock(speechMs)} (${percent}%)`;
    this.values.silence.textContent = clock(durationMs - speechMs);
    this.values.duration.textContent = clock(durationMs);
    setText(this.meter, 'ratioLabel', { percent }, 'label');
    (this.meter.firstElementChild as HTMLElement).style.width = `${percent}%`;
  }
}
