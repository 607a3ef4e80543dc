/** Presets first, then model and mode, then the options: the few that matter most, and the rest on demand. */

import { useId } from 'preact/hooks';
import type { Choice } from '../service/catalogue';
import type { Problem } from '../service/problem';
import type { OptionSchemas, Value } from '../service/types';
import {
  changedCount,
  initialSettings,
  isChanged,
  modeOf,
  type Offer,
  type Settings,
  schemasOf,
  withAudio,
  withMode,
  withModel,
  withPreset,
  withValue,
} from '../settings/settings';
import { t } from '../text/i18n';
import { modeHelp, modelHelp, modeName, presetName, presetTitle } from '../text/names';
import { refusalOf } from '../text/refusals';
import { Fold } from './controls';
import { Field } from './Field';

/** So many options are all shown; of more the first few, which services list by weight, and the rest on demand. */
const FEW = 11;
const FIRST = 3;
/** Of the options of how a file is read: what is shown where it can matter. */
const CHANNEL = 'channel';
/** What bare samples are: the first says that they are that. */
export const RAW = ['encoding', 'sample_rate', 'channels'] as const satisfies readonly string[];
/** What the service says of a file that may be bare samples. */
export const NOT_AUDIO = 'unsupported_audio';

export interface SettingsPanelProps {
  settings: Settings;
  offer: Offer;
  value: (name: string) => Value | undefined;
  change: (settings: Settings) => void;
  /** What the service has against one of them. */
  problem: Problem | null;
  /** Of the file; what it does not have is not asked about. */
  channels?: number;
}

export function SettingsPanel(props: SettingsPanelProps) {
  const { settings, change, offer } = props;
  const count = changedCount(settings, offer);
  return (
    <div class="settings">
      <p class="changed" data-changed={count}>
        <span>{t(count === 0 ? 'changedNone' : 'changedCount', { count })}</span>
        <button type="button" class={count === 0 ? 'quiet' : ''} disabled={count === 0} onClick={() => change(initialSettings(offer))}>
          {t('reset')}
        </button>
      </p>
      <Presets {...props} />
      <Models {...props} />
      <Modes {...props} />
      {!offer.live && (props.channels ?? 1) > 1 && <Channels {...props} />}
      {!offer.live && <Overlap {...props} />}
      <Options {...props} />
      {!offer.live && <Reading {...props} />}
    </div>
  );
}

/** Whether the service has something against an option, in words that stand beside it. */
function complaintOf(problem: Problem | null, name: string): string | null {
  if (problem?.option !== name) return null;
  const { text, foreign } = refusalOf(name, problem.detail);
  return foreign ? `${t('refused')}${text}` : text;
}

/** Whether a complaint about this option has a place in the panel. */
export function hasPlaceFor(option: string | null, settings: Settings, offer: Offer): boolean {
  if (option === null) return false;
  if (option === 'model') return offer.catalogue.models(offer.live).length > 1;
  return option in schemasOf(settings, offer) || (!offer.live && option in offer.catalogue.audio);
}

function Presets({ settings, offer, change }: SettingsPanelProps) {
  const { presets } = offer.catalogue;
  const id = useId();
  if (presets.length === 0) return null;
  const chosen = presets.find(({ name }) => name === settings.preset);
  const choose = (name: string): void => {
    const preset = presets.find((one) => one.name === name);
    change(preset ? withPreset(settings, preset, offer) : initialSettings(offer));
  };
  return (
    <div class="model preset">
      <label for={id}>{t('preset')}</label>
      <select id={id} data-preset="" value={settings.preset ?? ''} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="">{t('presetNone')}</option>
        {presets.map(({ name }) => (
          <option key={name} value={name}>
            {t(presetName(name))}
          </option>
        ))}
      </select>
      <p class="hint">{chosen ? t(presetTitle(chosen.name, chosen.title)) : t('presetHint')}</p>
    </div>
  );
}

function Models({ settings, offer, change, problem }: SettingsPanelProps) {
  const models = offer.catalogue.models(offer.live);
  const id = useId();
  if (models.length < 2) return null;
  const complaint = complaintOf(problem, 'model');
  const best = offer.catalogue.best(offer.live)?.name;
  const chosen = models.find(({ name }) => name === settings.model);
  return (
    <div class="model">
      <label for={id}>{t('model')}</label>
      <select id={id} value={settings.model} onChange={(event) => change(withModel(settings, event.currentTarget.value))}>
        {models.map(({ name, f1 }) => (
          <option key={name} value={name}>
            {[name, f1 !== null && scoreOf(f1, name === best)].filter(Boolean).join(' · ')}
          </option>
        ))}
      </select>
      <p class="hint">{goodFor(chosen)}</p>
      {!offer.live && <p class="hint">{t('modelHint')}</p>}
      {chosen?.loaded === false && <p class="hint">{t('modelLoads')}</p>}
      {complaint !== null && (
        <p class="complaint" role="alert">
          {complaint}
        </p>
      )}
      <Fold title={t('modelsAbout')} open={false}>
        <ul class="about-models">
          {models.map((model) => (
            <li key={model.name}>
              <button type="button" class="quiet" aria-pressed={model === chosen} onClick={() => change(withModel(settings, model.name))}>
                <strong>{model.name}</strong>
                <span>{figuresOf(model, model.name === best)}</span>
                <span class="hint">{goodFor(model)}</span>
              </button>
            </li>
          ))}
        </ul>
        <p class="hint">{t('modelsFigures')}</p>
      </Fold>
    </div>
  );
}

/** In the page's words where it knows the model; else as the service calls it. */
function goodFor(model: Choice | undefined): string {
  return model ? t(modelHelp(model.name)) || model.title : '';
}

/** How well, and how fast. */
function figuresOf({ f1, cost }: Choice, best: boolean): string {
  return [f1 !== null && scoreOf(f1, best), cost !== null && t('modelCost', { cost: String(cost) })].filter(Boolean).join(' · ');
}

function scoreOf(f1: number, best: boolean): string {
  return t(best ? 'bestModel' : 'modelF1', { f1: f1.toFixed(2) });
}

function Modes({ settings, offer, change }: SettingsPanelProps) {
  const name = useId();
  const current = modeOf(settings, offer);
  const title = (mode: string): string => t(modeHelp(mode, offer.catalogue.title(mode, settings.model, offer.live)));
  return (
    <div class="model">
      <fieldset class="modes">
        <legend>{t('mode')}</legend>
        {offer.catalogue.modes.map((mode) => (
          <label key={mode} title={title(mode)}>
            <input type="radio" name={name} value={mode} checked={mode === current} onChange={() => change(withMode(settings, mode))} />
            <span>{t(modeName(mode))}</span>
          </label>
        ))}
      </fieldset>
      <p class="hint">{title(current)}</p>
    </div>
  );
}

/** Which of a file's channels are heard; what the service takes beside its words are their numbers. */
function Channels({ settings, change, offer, channels = 1 }: SettingsPanelProps) {
  const id = useId();
  const numbers = Array.from({ length: channels }, (_, number) => String(number));
  return (
    <div class="model">
      <label for={id}>{t('channels')}</label>
      <select
        id={id}
        data-option={CHANNEL}
        value={String(settings.audio[CHANNEL] ?? 'mix')}
        onChange={(event) => change(withAudio(settings, CHANNEL, event.currentTarget.value, offer))}
      >
        <option value="mix">{t('channelMix')}</option>
        <option value="split">{t('channelSplit')}</option>
        <option value="loudest">{t('channelLoudest')}</option>
        {numbers.map((number) => (
          <option key={number} value={number}>
            {t('channelOne', { n: Number(number) + 1 })}
          </option>
        ))}
      </select>
    </div>
  );
}

/** Whether several people talk at once, of models that tell it: in sight, as what such a model is taken for. */
function Overlap(props: SettingsPanelProps) {
  const names = Object.keys(props.offer.catalogue.overlap(props.settings.model));
  if (names.length === 0) return null;
  return <div class="options">{fieldsOf(props, (name) => names.includes(name))}</div>;
}

function fieldsOf({ settings, offer, change, value, problem }: SettingsPanelProps, which: (name: string) => boolean) {
  const mode = modeOf(settings, offer);
  return Object.entries(schemasOf(settings, offer))
    .filter(([name]) => which(name))
    .map(([name, schema]) => (
      <Field
        key={`${mode}/${name}`}
        name={name}
        schema={schema}
        value={value(name)}
        changed={isChanged(settings, name, offer)}
        complaint={complaintOf(problem, name)}
        take={(given) => change(withValue(settings, name, given, offer))}
      />
    ));
}

function Options(props: SettingsPanelProps) {
  const { settings, offer, problem } = props;
  const overlap = offer.catalogue.overlap(settings.model);
  const rows = fieldsOf(props, (name) => !(name in overlap));
  const shown = rows.length > FEW ? FIRST : rows.length;
  const folded = rows.slice(shown).map(({ props: { name } }) => name);
  const open = folded.includes(problem?.option ?? '');
  return (
    <div class="options">
      {rows.slice(0, shown)}
      {folded.length > 0 && (
        <Fold title={t('moreOptions', { count: folded.length })} open={open}>
          <div class="options">{rows.slice(shown)}</div>
        </Fold>
      )}
    </div>
  );
}

/** How the file is read: which sound of it, by which clock, and what raw samples are. */
export function Reading({ settings, offer, change, problem, only }: SettingsPanelProps & { only?: readonly string[] }) {
  const told = Object.entries(offer.catalogue.audio).filter(([name]) => only?.includes(name) ?? true);
  const schemas: OptionSchemas = Object.fromEntries(told);
  delete schemas[CHANNEL];
  // Files say it themselves; of raw samples it has to be told.
  if (settings.audio.encoding === undefined) for (const raw of RAW.slice(1)) delete schemas[raw];
  const names = Object.keys(schemas);
  const open = problem?.code === NOT_AUDIO || names.some((name) => name in settings.audio || problem?.option === name);
  return (
    <Fold title={t('reading')} open={open}>
      <div class="options">
        {Object.entries(schemas).map(([name, schema]) => (
          <Field
            key={name}
            name={name}
            schema={schema}
            value={settings.audio[name] ?? schema.default ?? ''}
            changed={isChanged(settings, name, offer)}
            complaint={complaintOf(problem, name)}
            take={(given) => change(withAudio(settings, name, given, offer))}
          />
        ))}
      </div>
    </Fold>
  );
}
