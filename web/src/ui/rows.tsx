/** Long tables: of thousands of rows those in sight are made, and room is left for the others. */

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

/** So many rows are made at once without being felt. */
const ALL_AT_ONCE = 200;
const MARGIN_ROWS = 20;
/** Until the first row has been measured. */
const USUAL_HEIGHT = 31;

interface RowsProps {
  label: string;
  columns: readonly string[];
  count: number;
  row: (place: number) => JSX.Element;
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
  const windowed = count > ALL_AT_ONCE;
  const high = scroller.current?.clientHeight ?? 400;
  const first = windowed ? Math.max(0, Math.floor(top / height.current) - MARGIN_ROWS) : 0;
  const last = windowed ? Math.min(count, Math.ceil((top + high) / height.current) + MARGIN_ROWS) : count;
  useEffect(() => {
    const measured = scroller.current?.querySelector<HTMLElement>('tbody tr[data-place]')?.offsetHeight;
    if (measured) height.current = measured;
    if (growing && follows.current && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  });
  useEffect(() => {
    if (reveal !== undefined && reveal >= 0) bringIntoSight(scroller.current, reveal, height.current);
  }, [reveal]);
  const scrolled = (event: Event): void => {
    const { scrollTop, clientHeight, scrollHeight } = event.currentTarget as HTMLElement;
    follows.current = scrollTop + clientHeight >= scrollHeight - 1;
    if (windowed) setTop(scrollTop);
  };
  return (
    <div class={`rows ${kind}`} ref={scroller} tabIndex={0} role="region" aria-label={label} onScroll={scrolled}>
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
        <tbody onKeyDown={moveBetweenRows}>
          {first > 0 && <Gap rows={first} height={height.current} columns={columns.length} />}
          {Array.from({ length: last - first }, (_, at) => row(first + at))}
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

/** Rows are reached by Tab and by the arrows. */
function moveBetweenRows(event: KeyboardEvent): void {
  const row = event.target as HTMLElement;
  if (row.tagName !== 'TR' || (event.key !== 'ArrowDown' && event.key !== 'ArrowUp')) return;
  const next = event.key === 'ArrowDown' ? row.nextElementSibling : row.previousElementSibling;
  (next as HTMLElement | null)?.focus();
  event.preventDefault();
  event.stopPropagation();
}
