/** The table of segments: rows that play are reached by Tab and by the arrows; Enter plays. */

import type { Chunk, Segment } from './api';
import { h } from './dom';
import { onLanguage, t, type Args } from './i18n';
import { word } from './names';
import type { TextKey } from './texts';
import { clock, seconds } from './time';

const COLUMNS = ['colIndex', 'colStart', 'colEnd', 'colDuration', 'colProbability'] as const;
const SLICE = 150;
/** Of what is not known yet. */
const OPEN = '…';

export class SegmentTable {
  readonly element: HTMLElement;
  private readonly head = h('tr', {}, ...COLUMNS.map((key) => h('th', { scope: 'col', t: key })));
  private readonly body = h('tbody');
  private readonly empty = h('p', { class: 'empty', t: 'noSpeech', hidden: true });
  private readonly scroller: HTMLElement;
  private readonly forget: () => void;
  private segments: readonly Segment[] = [];
  private selected = -1;
  private filled = 0;
  private later = 0;
  private growing = false;
  /** Columns that not every answer has: segments of several kinds, and chunks. */
  private extra: readonly TextKey[] = [];
  /** By segment's index, the chunks that it is in; null where there are none. */
  private chunks: ReadonlyMap<number, string> | null = null;

  /** `caption`: what the rows are of. `choose`: a row was clicked, or Enter pressed on it; null where rows only show. */
  constructor(
    caption: [TextKey, Args],
    private readonly choose: ((segment: Segment) => void) | null,
  ) {
    const table = h('table', {}, h('caption', { class: 'unseen', t: caption }), h('thead', {}, this.head), this.body);
    this.scroller = h('div', { class: 'rows', tabindex: 0, role: 'region', tLabel: caption }, table);
    this.element = h('div', { class: 'table' }, this.scroller, this.empty);
    if (choose) {
      this.body.classList.add('choosable');
      this.body.addEventListener('click', (event) => this.act(event.target));
      this.body.addEventListener('keydown', (event) => this.key(event));
    }
    this.forget = onLanguage(() => this.fillTo((this.filled = 0) || (this.growing ? this.segments.length : SLICE)));
  }

  /**
   * The first rows at once, the rest in slices: a long file has thousands, and a slider moves often. `growing`: more are
   * expected, and who looks at the newest goes on seeing it; an end that is not finite is not known yet.
   */
  show(segments: readonly Segment[], growing = false, chunks: readonly Chunk[] | null = null): void {
    const { scroller } = this;
    const follows = growing && scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 1;
    this.segments = segments;
    this.filled = 0;
    this.growing = growing;
    this.empty.hidden = growing || segments.length > 0;
    this.chunks = chunks && chunkNumbers(chunks);
    const labels = segments.some(({ label }) => label !== undefined);
    this.setExtra([...(labels ? (['colLabel'] as const) : []), ...(chunks ? (['colChunk'] as const) : [])]);
    while (this.body.rows.length > segments.length) this.body.deleteRow(-1);
    this.fillTo(growing ? segments.length : SLICE);
    this.select(this.selected);
    if (follows) scroller.scrollTop = scroller.scrollHeight;
  }

  private setExtra(columns: readonly TextKey[]): void {
    if (columns.join() === this.extra.join()) return;
    this.extra = columns;
    this.element.classList.toggle('labelled', columns.length > 0);
    this.body.replaceChildren();
    while (this.head.cells.length > COLUMNS.length) this.head.deleteCell(-1);
    this.head.append(...columns.map((key) => h('th', { scope: 'col', t: key })));
  }

  private fillTo(count: number): void {
    clearTimeout(this.later);
    const until = Math.min(count, this.segments.length);
    for (; this.filled < until; this.filled += 1) {
      if (this.filled === this.body.rows.length) {
        this.body.append(h('tr', { tabindex: this.choose ? 0 : undefined }, ...Array.from(this.head.cells, () => h('td'))));
      }
      this.fill(this.body.rows[this.filled], this.segments[this.filled]);
    }
    if (until < this.segments.length) this.later = window.setTimeout(() => this.fillTo(until + SLICE), 16);
  }

  private fill(row: HTMLTableRowElement | undefined, segment: Segment | undefined): void {
    if (!row || !segment) return;
    const start = clock(segment.start_ms);
    const known = Number.isFinite(segment.end_ms);
    const end = known ? clock(segment.end_ms) : OPEN;
    const [length, probability] = known ? [seconds(segment.duration_ms), segment.speech_probability.toFixed(3)] : [OPEN, OPEN];
    const texts = [`${segment.index}`, start, end, length, probability];
    for (const column of this.extra) {
      if (column === 'colChunk') texts.push(this.chunks?.get(segment.index) ?? '');
      else texts.push(segment.label === undefined ? '' : t(word(segment.label)));
    }
    texts.forEach((text, at) => {
      const cell = row.cells[at];
      if (cell && cell.textContent !== text) cell.textContent = text;
    });
    row.classList.toggle('forced', segment.forced_end);
    const parts = [t('rowLabel', { n: segment.index, start, end })];
    if (this.choose) parts.push(t('rowPlays'));
    if (segment.forced_end) parts.push(t('forced'));
    row.title = parts.join(' · ');
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
    if (segment) this.choose?.(segment);
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

/** By segment's index: `2`, or `2, 3` of one that is longer than a chunk. */
function chunkNumbers(chunks: readonly Chunk[]): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const { index, segments } of chunks) {
    for (const segment of segments) found.set(segment, found.has(segment) ? `${found.get(segment)}, ${index}` : `${index}`);
  }
  return found;
}
