/** Correcting by hand: where it begins, what it comes to, and the corrected segments as a table of fields. */

import { signal } from '@preact/signals';
import { useId, useRef, useState } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { IMPORTED, IMPORTED_FILES, importMarks } from '../edit/import';
import { LONGEST_LABEL, type Mark } from '../edit/marks';
import { t } from '../text/i18n';
import { word } from '../text/names';
import { clock, milliseconds, seconds } from '../timeline/time';
import { IconButton } from './controls';
import { Rows } from './rows';

export function Corrections({ clip }: { clip: Clip }) {
  const { editing } = clip;
  const failed = useRef(signal(false)).current;
  const reads = useId();
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
          <button type="button" class="primary" onClick={() => editing.begin(clip.answer.value?.segments ?? [])}>
            {t('editBegin')}
          </button>
        )}
        <button type="button" aria-describedby={reads} onClick={() => picker.current?.click()}>
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
          accept={IMPORTED_FILES}
          onChange={(event) => {
            void take(event.currentTarget.files?.[0]);
            event.currentTarget.value = '';
          }}
        />
      </div>
      <p class="hint" id={reads}>
        {t('importReads', { forms: IMPORTED.join(' · ') })}
      </p>
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
  const row = (place: number, stop: (column: number) => 0 | -1) => (
    <MarkRow
      stop={stop}
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
  stop: (column: number) => 0 | -1;
}

/** What was wrong with what somebody typed, and in which field. */
interface Complaint {
  field: 'start' | 'end' | 'label';
  /** What stands in the field. */
  typed: string;
  text: string;
}

function MarkRow({ clip, mark, place, selected, stop }: MarkRowProps) {
  const { editing } = clip;
  const n = place + 1;
  const [complaint, complain] = useState<Complaint | null>(null);
  const complaintId = useId();
  const wrong = (field: Complaint['field']) =>
    complaint?.field === field ? { 'aria-invalid': true, 'aria-describedby': complaintId } : {};
  const saidOf = (field: Complaint['field']) =>
    complaint?.field === field && (
      <p class="complaint" role="alert" id={complaintId}>
        {complaint.text}
      </p>
    );
  const typed = (field: Complaint['field'], value: string): string => (complaint?.field === field ? complaint.typed : value);
  const choose = (): void => {
    editing.selected.value = mark.id;
    clip.seek(mark.start_ms);
  };
  const time = (edge: 'start' | 'end', field: HTMLInputElement): void => {
    const ms = milliseconds(field.value);
    // What cannot be understood stays for who typed it to mend.
    if (ms === null) {
      complain({ field: edge, typed: field.value, text: t('markNoTime', { text: field.value }) });
      return;
    }
    editing.move(mark.id, edge, ms);
    const now = editing.marks.value?.find(({ id }) => id === mark.id);
    const placed = now?.[`${edge}_ms`] ?? ms;
    field.value = clock(placed);
    complain(
      placed === ms ? null : { field: edge, typed: clock(placed), text: t('markMoved', { asked: clock(ms), placed: clock(placed) }) },
    );
  };
  const label = (field: HTMLInputElement): void => {
    const done = editing.relabel(mark.id, field.value);
    complain(
      done ? null : { field: 'label', typed: field.value, text: t('markLabelTaken', { label: field.value.trim() || t(word('speech')) }) },
    );
    if (done) field.value = editing.marks.value?.find(({ id }) => id === mark.id)?.label ?? '';
  };
  return (
    <tr data-place={place} aria-current={selected || undefined} onClick={() => (editing.selected.value = mark.id)}>
      <td>
        <button
          type="button"
          class="quiet number"
          tabIndex={stop(0)}
          aria-label={t('markGoTo', { n })}
          title={t('markGoTo', { n })}
          onClick={choose}
        >
          {n}
        </button>
      </td>
      <td>
        <input
          type="text"
          tabIndex={stop(1)}
          {...wrong('start')}
          aria-label={t('markStartOf', { n })}
          value={typed('start', clock(mark.start_ms))}
          onChange={(event) => time('start', event.currentTarget)}
        />
        {saidOf('start')}
      </td>
      <td>
        <input
          type="text"
          tabIndex={stop(2)}
          {...wrong('end')}
          aria-label={t('markEndOf', { n })}
          value={typed('end', clock(mark.end_ms))}
          onChange={(event) => time('end', event.currentTarget)}
        />
        {saidOf('end')}
      </td>
      <td>
        <input
          type="text"
          tabIndex={stop(3)}
          {...wrong('label')}
          aria-label={t('markLabelOf', { n })}
          placeholder={t(word('speech'))}
          value={typed('label', mark.label ?? '')}
          maxLength={LONGEST_LABEL}
          onChange={(event) => label(event.currentTarget)}
        />
        {saidOf('label')}
      </td>
      <td>
        <IconButton icon="remove" label="markDeleteOf" args={{ n }} tab={stop(4)} run={() => editing.remove(mark.id)} />
      </td>
    </tr>
  );
}
