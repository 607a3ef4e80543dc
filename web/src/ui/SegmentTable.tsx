/** The detector's segments: a click or Enter plays one. */

import type { Chunk, Segment } from '../service/types';
import { t } from '../text/i18n';
import { word } from '../text/names';
import { clock, seconds } from '../timeline/time';
import { Rows } from './rows';

interface SegmentTableProps {
  label: string;
  segments: readonly Segment[];
  chunks?: readonly Chunk[] | null;
  chosen?: number | null;
  choose: (segment: Segment) => void;
}

export function SegmentTable({ label, segments, chunks, chosen, choose }: SegmentTableProps) {
  if (segments.length === 0) return <p class="empty">{t('noSpeech')}</p>;
  const labelled = segments.some((segment) => segment.label != null);
  const split = segments.some((segment) => segment.channel != null);
  const numbers = chunks ? chunkNumbers(chunks) : null;
  const columns = [t('colIndex'), t('colStart'), t('colEnd'), t('colDuration'), t('colProbability')];
  if (split) columns.push(t('colChannel'));
  if (labelled) columns.push(t('colLabel'));
  if (numbers) columns.push(t('colChunk'));
  const row = (place: number, stop: (column: number) => 0 | -1) => {
    const segment = segments[place] as Segment;
    const cells = [
      String(segment.index),
      clock(segment.start_ms),
      clock(segment.end_ms),
      seconds(segment.duration_ms),
      segment.speech_probability.toFixed(3),
    ];
    if (split) cells.push(segment.channel == null ? '' : String(segment.channel + 1));
    if (labelled) cells.push(segment.label == null ? '' : t(word(segment.label)));
    if (numbers) cells.push(numbers.get(segment.index) ?? '');
    return (
      <tr
        key={place}
        data-place={place}
        tabIndex={stop(0)}
        class={segment.forced_end ? 'forced' : undefined}
        title={titleOf(segment)}
        aria-current={segment.index === chosen || undefined}
        onClick={() => choose(segment)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' && event.key !== ' ') return;
          event.preventDefault();
          event.stopPropagation();
          choose(segment);
        }}
      >
        {cells.map((cell, at) => (
          <td key={columns[at]}>{cell}</td>
        ))}
      </tr>
    );
  };
  const reveal = segments.findIndex(({ index }) => index === chosen);
  return <Rows label={label} columns={columns} count={segments.length} row={row} reveal={reveal} kind="choosable" />;
}

function titleOf({ index, start_ms, end_ms, forced_end }: Segment): string {
  const parts = [t('rowLabel', { n: index, start: clock(start_ms), end: clock(end_ms) }), t('rowPlays')];
  if (forced_end) parts.push(t('forced'));
  return parts.join(' · ');
}

/** By segment's index: `2`, or `2, 3` of one that is longer than a chunk. */
function chunkNumbers(chunks: readonly Chunk[]): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const { index, segments } of chunks) {
    for (const segment of segments) found.set(segment, found.has(segment) ? `${found.get(segment)}, ${index}` : `${index}`);
  }
  return found;
}
