/** One option, drawn from its schema: a slider and a number, a box to tick, a choice, or a text. */

import type { JSX } from 'preact';
import { useId, useRef } from 'preact/hooks';
import type { Schema, Value } from '../service/types';
import { type Scale, scaleOf } from '../settings/scale';
import { language, t } from '../text/i18n';
import { optionHelp, optionName, word } from '../text/names';

interface FieldProps {
  name: string;
  schema: Schema;
  value: Value | undefined;
  /** It is not as the model has it. */
  changed: boolean;
  /** What the service has against the value. */
  complaint: string | null;
  take: (value: Value) => void;
}

interface ControlProps extends FieldProps {
  /** What the label belongs to. */
  id: string;
  described: string;
}

export function Field(props: FieldProps) {
  const { name, schema, complaint, changed } = props;
  const id = useId();
  const known = optionName(name);
  const help = t(optionHelp(name, schema.description));
  const Control = controlOf(schema);
  return (
    <div class="option" data-row={name}>
      <label for={id}>
        {known && <span>{t(known)}</span>}
        <small>
          <code>{name}</code>
          {changed && <span class="mark">{t('changedMark')}</span>}
        </small>
      </label>
      <Control {...props} id={id} described={`${id}-help`} />
      {help && (
        <p class="hint" id={`${id}-help`} lang={language.value === 'zh' && /^[\x20-\x7e]+$/.test(help) ? 'en' : undefined}>
          {help}
        </p>
      )}
      {complaint !== null && (
        <p class="complaint" role="alert">
          {complaint}
        </p>
      )}
    </div>
  );
}

function controlOf(schema: Schema): (props: ControlProps) => JSX.Element {
  if (schema.enum || schema.examples) return Choice;
  if (schema.type === 'boolean' || isSwitch(schema)) return Tick;
  return [schema, ...(schema.anyOf ?? [])].some(({ type }) => type === 'number' || type === 'integer') ? Amount : Text;
}

/** A number that is 0 or 1. */
function isSwitch({ type, minimum, maximum }: Schema): boolean {
  return type === 'integer' && minimum === 0 && maximum === 1;
}

function common({ name, id, described, complaint }: ControlProps) {
  return { id, 'data-option': name, 'aria-describedby': described, 'aria-invalid': complaint !== null || undefined };
}

/** With an empty choice where nothing need be set. */
function Choice(props: ControlProps) {
  const { schema, value, take } = props;
  const values = schema.enum ?? ['', ...(schema.examples ?? [])];
  return (
    <span class="value">
      <select
        {...common(props)}
        value={String(value ?? '')}
        onChange={(event) => take(values[event.currentTarget.selectedIndex] ?? event.currentTarget.value)}
      >
        {values.map((one) => (
          <option key={String(one)} value={String(one)}>
            {one === '' ? t('notSet') : String(one)}
          </option>
        ))}
      </select>
    </span>
  );
}

function Tick(props: ControlProps) {
  return (
    <span class="value">
      <input
        {...common(props)}
        type="checkbox"
        checked={props.value === true || props.value === 1}
        onChange={({ currentTarget: { checked } }) => props.take(isSwitch(props.schema) ? Number(checked) : checked)}
      />
    </span>
  );
}

function Text(props: ControlProps) {
  return (
    <span class="value">
      <input {...common(props)} type="text" value={String(props.value ?? '')} onChange={(event) => props.take(event.currentTarget.value)} />
    </span>
  );
}

/** A number; an empty field stands for what the service takes in place of one, where it takes something. */
function Amount(props: ControlProps) {
  const { schema: whole, value, take, name } = props;
  const number = [whole, ...(whole.anyOf ?? [])].find(({ type }) => type === 'number' || type === 'integer');
  const schema = { ...whole, ...number };
  const instead = whole.anyOf?.find((one) => one.const !== undefined)?.const ?? (whole.default === undefined ? '' : undefined);
  const scale = scaleOf(schema);
  const said = typeof value === 'number' ? String(value) : '';
  // An answer that comes while somebody types takes nothing from them.
  const typing = useRef<string | null>(null);
  const done = (field: HTMLInputElement): void => {
    // Enter, the change that browsers tell of after it, and leaving the field are one and the same end of typing.
    if (typing.current === null) return;
    const typed = field.valueAsNumber;
    typing.current = null;
    if (!Number.isNaN(typed)) take(scale.nearest(typed));
    else if (instead !== undefined && field.value === '' && !field.validity.badInput) take(instead);
    else field.value = said;
  };
  const slides = scale.slider !== null;
  return (
    <>
      <span class="value">
        <input
          {...common(props)}
          id={slides ? undefined : props.id}
          type="number"
          aria-label={slides ? t('value', { name }) : undefined}
          min={scale.min}
          max={scale.max}
          step={scale.step}
          placeholder={instead === 'inf' ? '∞' : instead === undefined ? undefined : String(instead)}
          value={typing.current ?? said}
          onInput={(event) => {
            typing.current = event.currentTarget.value;
          }}
          onChange={(event) => done(event.currentTarget)}
          onKeyDown={(event) => {
            if (event.key === 'Enter') done(event.currentTarget);
          }}
          onBlur={(event) => {
            // What was typed counts, though it is what stood there before: then browsers tell of no change.
            if (typing.current !== null) done(event.currentTarget);
            else event.currentTarget.value = said;
          }}
        />
        <span class="unit">{t(word(schema.unit ?? ''))}</span>
      </span>
      {scale.slider && <Slider {...props} slider={scale.slider} unit={schema.unit ?? ''} />}
    </>
  );
}

function Slider({ id, described, value, take, slider, unit }: ControlProps & { slider: NonNullable<Scale['slider']>; unit: string }) {
  const { from, to, step, valueAt, placeOf } = slider;
  const range = useRef<HTMLInputElement>(null);
  const number = typeof value === 'number' ? value : from;
  // Places beside each other may stand for the same value; the one that was chosen is kept.
  const chosen = range.current?.valueAsNumber;
  const place = chosen !== undefined && valueAt(chosen) === number ? chosen : placeOf(number);
  return (
    <input
      ref={range}
      id={id}
      type="range"
      min={from}
      max={to}
      step={step}
      value={place}
      aria-valuetext={`${value ?? ''} ${unit}`.trim()}
      aria-describedby={described}
      style={{ '--filled': `${((place - from) / (to - from)) * 100}%` }}
      onInput={(event) => take(valueAt(event.currentTarget.valueAsNumber))}
    />
  );
}
