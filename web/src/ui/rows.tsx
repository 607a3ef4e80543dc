/** Long tables: of thousands of rows those in sight are made, and room is left for the others. */

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { printing } from '../settings/printing';

/** So many rows are made at once without being felt. */
const ALL_AT_ONCE = 200;
const MARGIN_ROWS = 20;
/** Rows that a page key moves. */
const PAGE = 10;
/** Until the first row has been measured. */
const USUAL_HEIGHT = 31;

interface RowsProps {
  label: string;
  columns: readonly string[];
  count: number;
  /** `stop` gives the `tabIndex` of what can be focused in the row, by its place among them. */
  row: (place: number, stop: (column: number) => 0 | -1) => JSX.Element;
  /** A row that is kept in sight. */
  reveal?: number;
  /** Who looks at the newest goes on seeing it. */
  growing?: boolean;
  kind?: string;
  /** A column that says by itself what it is, to who sees it. */
  unseen?: string;
  children?: ComponentChildren;
}

export function Rows({ label, columns, count, row, reveal, growing = false, kind = '', unseen }: RowsProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const height = useRef(USUAL_HEIGHT);
  const follows = useRef(true);
  // One stop of Tab for the whole table; arrows move it.
  const [active, setActive] = useState({ place: 0, column: 0 });
  const wanted = useRef<{ place: number; column: number } | null>(null);
  const windowed = count > ALL_AT_ONCE && !printing.value;
  const high = scroller.current?.clientHeight ?? 400;
  const first = windowed ? Math.max(0, Math.floor(top / height.current) - MARGIN_ROWS) : 0;
  const last = windowed ? Math.min(count, Math.ceil((top + high) / height.current) + MARGIN_ROWS) : count;
  useEffect(() => {
    const measured = scroller.current?.querySelector<HTMLElement>('tbody tr[data-place]')?.offsetHeight;
    if (measured) height.current = measured;
    if (growing && follows.current && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  });
  useEffect(() => {
    if (reveal === undefined || reveal < 0) return;
    bringIntoSight(scroller.current, reveal, height.current);
    setActive(({ column }) => ({ place: reveal, column }));
  }, [reveal]);
  useEffect(() => {
    if (!wanted.current) return;
    const { place, column } = wanted.current;
    // A row that was out of sight is made after the scrolling.
    const row = scroller.current?.querySelector<HTMLElement>(`tr[data-place="${place}"]`);
    if (!row) return;
    wanted.current = null;
    stopsOf(row)[column]?.focus();
  });
  const inTabOrder = { place: active.place >= first && active.place < last ? active.place : first, column: active.column };
  const go = (place: number, column: number): void => {
    wanted.current = { place, column };
    bringIntoSight(scroller.current, place, height.current);
    setActive({ place, column });
  };
  const pressed = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const row = target.closest<HTMLElement>('tr[data-place]');
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const [place, stops] = [Number(row.dataset.place), stopsOf(row)];
    const column = stops.indexOf(target);
    const typing = target instanceof HTMLInputElement;
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };
    if (!typing) Object.assign(steps, { Home: -count, End: count });
    const [down, aside] = [steps[event.key], asideOf(event.key, target)];
    if (down === undefined && (aside === 0 || !stops[column + aside])) return;
    event.preventDefault();
    event.stopPropagation();
    go(Math.max(0, Math.min(count - 1, place + (down ?? 0))), column + (down === undefined ? aside : 0));
  };
  const scrolled = (event: Event): void => {
    const { scrollTop, clientHeight, scrollHeight } = event.currentTarget as HTMLElement;
    follows.current = scrollTop + clientHeight >= scrollHeight - 1;
    if (windowed) setTop(scrollTop);
  };
  return (
    <div class={`rows ${kind}`} ref={scroller} role="region" aria-label={label} onScroll={scrolled}>
      <table aria-rowcount={count + 1} class={columns.length > 5 ? 'wide' : undefined}>
        <caption class="unseen">{label}</caption>
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name} scope="col">
                {name === unseen ? <span class="unseen">{name}</span> : name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={pressed} onFocusIn={(event) => setActive(placeOf(event.target as HTMLElement) ?? active)}>
          {first > 0 && <Gap rows={first} height={height.current} columns={columns.length} />}
          {Array.from({ length: last - first }, (_, at) =>
            row(first + at, (column) => (first + at === inTabOrder.place && column === inTabOrder.column ? 0 : -1)),
          )}
          {last < count && <Gap rows={count - last} height={height.current} columns={columns.length} />}
        </tbody>
      </table>
    </div>
  );
}

function Gap({ rows, height, columns }: { rows: number; height: number; columns: number }) {
  return (
    <tr class="gap">
      <td colSpan={columns} style={{ height: `${rows * height}px` }} />
    </tr>
  );
}

function bringIntoSight(scroller: HTMLElement | null, place: number, height: number): void {
  if (!scroller) return;
  const head = scroller.querySelector('thead')?.clientHeight ?? 0;
  const [from, to] = [place * height, (place + 1) * height];
  if (from < scroller.scrollTop) scroller.scrollTop = from;
  else if (to + head > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = to + head - scroller.clientHeight;
}

/** What can be focused in a row: the row itself, or the fields and buttons in it. */
function stopsOf(row: HTMLElement): HTMLElement[] {
  const inside = [...row.querySelectorAll<HTMLElement>('input, button')];
  return inside.length > 0 ? inside : [row];
}

function placeOf(target: HTMLElement): { place: number; column: number } | null {
  const row = target.closest<HTMLElement>('tr[data-place]');
  return row && { place: Number(row.dataset.place), column: Math.max(0, stopsOf(row).indexOf(target)) };
}

/** To the field beside this one: out of a text only at its end. */
function asideOf(key: string, target: HTMLElement): 0 | 1 | -1 {
  const by = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0;
  if (by === 0 || !(target instanceof HTMLInputElement)) return by;
  const { selectionStart: from, selectionEnd: to, value } = target;
  return from === to && from === (by > 0 ? value.length : 0) ? by : 0;
}
