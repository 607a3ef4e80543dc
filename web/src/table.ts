/** The table of segments: rows are reached by Tab and by the arrows; Enter plays. */

import type { Segment } from './api';
import { h } from './dom';
import { onLanguage, t, type Args } from './i18n';
import type { TextKey } from './texts';
import { clock, seconds } from './time';

const SLICE = 150;

export class SegmentTable {
  readonly element: HTMLElement;
  private readonly body = h('tbody');
  private readonly empty = h('p', { class: 'empty', t: 'noSpeech', hidden: true });
  private readonly forget: () => void;
  private segments: readonly Segment[] = [];
  private selected = -1;
  private filled = 0;
  private later = 0;

  /** `caption`: what the rows are of. `choose`: a row was clicked, or Enter pressed on it. */
  constructor(
    caption: [TextKey, Args],
    private readonly choose: (segment: Segment) => void,
  ) {
    const columns = ['colIndex', 'colStart', 'colEnd', 'colDuration', 'colProbability'] as const;
    const head = h('thead', {}, h('tr', {}, ...columns.map((key) => h('th', { scope: 'col', t: key }))));
    const table = h('table', {}, h('caption', { class: 'unseen', t: caption }), head, this.body);
    const scroller = h('div', { class: 'rows', tabindex: 0, role: 'region', tLabel: caption }, table);
    this.element = h('div', { class: 'table' }, scroller, this.empty);
    this.body.addEventListener('click', (event) => this.act(event.target));
    this.body.addEventListener('keydown', (event) => this.key(event));
    this.forget = onLanguage(() => this.show(this.segments));
  }

  /** The first rows at once, the rest in slices: a long file has thousands, and a slider moves often. */
  show(segments: readonly Segment[]): void {
    this.segments = segments;
    this.filled = 0;
    this.empty.hidden = segments.length > 0;
    while (this.body.rows.length > segments.length) this.body.deleteRow(-1);
    this.fillTo(SLICE);
    this.select(this.selected);
  }

  private fillTo(count: number): void {
    clearTimeout(this.later);
    const until = Math.min(count, this.segments.length);
    for (; this.filled < until; this.filled += 1) {
      if (this.filled === this.body.rows.length) {
        this.body.append(h('tr', { tabindex: 0 }, ...Array.from({ length: 5 }, () => h('td'))));
      }
      this.fill(this.body.rows[this.filled], this.segments[this.filled]);
    }
    if (until < this.segments.length) this.later = window.setTimeout(() => this.fillTo(until + SLICE), 16);
  }

  private fill(row: HTMLTableRowElement | undefined, segment: Segment | undefined): void {
    if (!row || !segment) return;
    const start = clock(segment.start_ms);
    const end = clock(segment.end_ms);
    const texts = [`${segment.index}`, start, end, seconds(segment.duration_ms), segment.speech_probability.toFixed(3)];
    texts.forEach((text, at) => {
      const cell = row.cells[at];
      if (cell && cell.textContent !== text) cell.textContent = text;
    });
    row.classList.toggle('forced', segment.forced_end);
    const label = t('rowLabel', { n: segment.index, start, end });
    row.title = segment.forced_end ? `${label} · ${t('forced')}` : label;
  }

  /** Marks the row of the segment with this number, and scrolls to it when `reveal`. */
  select(index: number, reveal = false): void {
    this.selected = index;
    if (index > this.filled) this.fillTo(index);
    for (const row of this.body.querySelectorAll('[aria-current]')) row.removeAttribute('aria-current');
    const row = this.body.rows[index - 1];
    row?.setAttribute('aria-current', 'true');
    if (reveal) row?.scrollIntoView({ block: 'nearest' });
  }

  private act(target: EventTarget | null): void {
    const row = target instanceof Element ? target.closest('tr') : null;
    const segment = row ? this.segments[row.sectionRowIndex] : undefined;
    if (segment) this.choose(segment);
  }

  private key(event: KeyboardEvent): void {
    const row = event.target instanceof Element ? event.target.closest('tr') : null;
    if (!row) return;
    if (event.key === 'Enter' || event.key === ' ') this.act(row);
    else if (event.key === 'ArrowDown') (row.nextElementSibling as HTMLElement | null)?.focus();
    else if (event.key === 'ArrowUp') (row.previousElementSibling as HTMLElement | null)?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  destroy(): void {
    clearTimeout(this.later);
    this.forget();
  }
}
