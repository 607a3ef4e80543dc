/** Correcting by hand: where it begins, what it comes to, and the corrected segments as a table of fields. */

import { signal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { importMarks } from '../edit/import';
import type { Mark } from '../edit/marks';
import { t } from '../text/i18n';
import { clock, milliseconds, seconds } from '../timeline/time';
import { IconButton } from './controls';
import { Rows } from './rows';

export function Corrections({ clip }: { clip: Clip }) {
  const { editing } = clip;
  const failed = useRef(signal(false)).current;
  const picker = useRef<HTMLInputElement>(null);
  const take = async (file: File | undefined): Promise<void> => {
    if (!file) return;
    try {
      editing.replace(importMarks(await file.text()));
      failed.value = false;
    } catch {
      failed.value = true;
    }
  };
  return (
    <div class="corrections">
      <p class="hint">{t(editing.active.value ? 'editHint' : 'editOffer')}</p>
      <div class="buttons">
        {!editing.active.value && (
          <button type="button" class="primary" onClick={() => editing.begin(clip.a.answer.value?.segments ?? [])}>
            {t('editBegin')}
          </button>
        )}
        <button type="button" title={t('importTitle')} onClick={() => picker.current?.click()}>
          {t('import')}
        </button>
        {editing.active.value && (
          <button type="button" class="quiet" onClick={() => editing.discard()}>
            {t('editDiscard')}
          </button>
        )}
        <input
          ref={picker}
          type="file"
          hidden
          data-import=""
          accept=".txt,.rttm,.TextGrid,.textgrid,.json"
          onChange={(event) => {
            void take(event.currentTarget.files?.[0]);
            event.currentTarget.value = '';
          }}
        />
      </div>
      {failed.value && (
        <p class="complaint" role="alert">
          {t('importFailed')}
        </p>
      )}
      {editing.active.value && <Measure clip={clip} />}
      {editing.active.value && <MarkTable clip={clip} />}
    </div>
  );
}

/** How well the detector did, if the corrected ones are right. */
function Measure({ clip }: { clip: Clip }) {
  const score = clip.score.value;
  if (!score) return null;
  return (
    <dl class="figures" data-f1={score.f1.toFixed(4)}>
      <Figure name={t('scoreF1')} value={score.f1.toFixed(3)} />
      <Figure name={t('scoreMissed')} value={t('scoreValue', { time: seconds(score.missedMs), count: score.missed })} />
      <Figure name={t('scoreFalse')} value={t('scoreValue', { time: seconds(score.falseMs), count: score.false })} />
    </dl>
  );
}

export function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function MarkTable({ clip }: { clip: Clip }) {
  const marks = clip.editing.marks.value ?? [];
  const selected = clip.editing.selected.value;
  const columns = [t('colIndex'), t('colStart'), t('colEnd'), t('colLabel'), t('markDelete')];
  const row = (place: number) => (
    <MarkRow
      key={(marks[place] as Mark).id}
      clip={clip}
      mark={marks[place] as Mark}
      place={place}
      selected={(marks[place] as Mark).id === selected}
    />
  );
  const reveal = marks.findIndex(({ id }) => id === selected);
  return (
    <Rows label={t('laneMarks')} columns={columns} count={marks.length} row={row} reveal={reveal} kind="marks" unseen={t('markDelete')} />
  );
}

interface MarkRowProps {
  clip: Clip;
  mark: Mark;
  place: number;
  selected: boolean;
}

function MarkRow({ clip, mark, place, selected }: MarkRowProps) {
  const { editing } = clip;
  const n = place + 1;
  const choose = (): void => {
    editing.selected.value = mark.id;
    clip.seek(mark.start_ms);
  };
  const time = (edge: 'start' | 'end', field: HTMLInputElement): void => {
    const ms = milliseconds(field.value);
    if (ms !== null) editing.move(mark.id, edge, ms);
    const now = editing.marks.value?.find(({ id }) => id === mark.id);
    if (now) field.value = clock(edge === 'start' ? now.start_ms : now.end_ms);
  };
  return (
    <tr data-place={place} aria-current={selected || undefined} onClick={() => (editing.selected.value = mark.id)}>
      <td>
        <button type="button" class="quiet number" aria-label={t('markGoTo', { n })} title={t('markGoTo', { n })} onClick={choose}>
          {n}
        </button>
      </td>
      <td>
        <input
          type="text"
          aria-label={t('markStartOf', { n })}
          value={clock(mark.start_ms)}
          onChange={(event) => time('start', event.currentTarget)}
        />
      </td>
      <td>
        <input
          type="text"
          aria-label={t('markEndOf', { n })}
          value={clock(mark.end_ms)}
          onChange={(event) => time('end', event.currentTarget)}
        />
      </td>
      <td>
        <input
          type="text"
          aria-label={t('markLabelOf', { n })}
          placeholder="speech"
          value={mark.label ?? ''}
          maxLength={32}
          onChange={(event) => {
            editing.relabel(mark.id, event.currentTarget.value);
            event.currentTarget.value = editing.marks.value?.find(({ id }) => id === mark.id)?.label ?? '';
          }}
        />
      </td>
      <td>
        <IconButton icon="remove" label="markDeleteOf" args={{ n }} run={() => editing.remove(mark.id)} />
      </td>
    </tr>
  );
}
