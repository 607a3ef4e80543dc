/** All models on one file: how much each calls speech, where they agree, and how well they do by the corrected segments. */

import type { Clip } from '../clip/clip';
import { spoken } from '../clip/clip';
import type { Take } from '../clip/take';
import { withModel } from '../settings/settings';
import { t } from '../text/i18n';
import { modeName } from '../text/names';
import { compare } from '../timeline/intervals';
import { clock, seconds } from '../timeline/time';
import { ProblemBox } from './controls';
import { percent } from './Findings';

export function ModelTable({ clip }: { clip: Clip }) {
  const others = clip.others.value;
  if (others.length === 0) return null;
  const scored = clip.editing.active.value;
  return (
    <div class="rows models" role="region" aria-label={t('modelsCaption')} tabIndex={0}>
      <table>
        <caption class="unseen">{t('modelsCaption')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('model')}</th>
            <th scope="col">{t('mode')}</th>
            <th scope="col">{t('speech')}</th>
            <th scope="col">{t('segments')}</th>
            <th scope="col">{t('modelsAgree', { model: clip.a.answer.value?.model.name ?? '' })}</th>
            {scored && <th scope="col">F1</th>}
            {scored && <th scope="col">{t('scoreMissed')}</th>}
            {scored && <th scope="col">{t('scoreFalse')}</th>}
            <th scope="col">
              <span class="unseen">{t('modelsUse')}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {[clip.a, ...others].map((take, place) => (
            <ModelRow key={take.settings.value?.model ?? place} clip={clip} take={take} scored={scored} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ModelRow({ clip, take, scored }: { clip: Clip; take: Take; scored: boolean }) {
  const [answer, first, model] = [take.answer.value, clip.a.answer.value, take.settings.value?.model ?? ''];
  if (!answer) {
    const { problem, busy } = take;
    return (
      <tr data-model={model}>
        <th scope="row">{model}</th>
        <td colSpan={scored ? 8 : 5}>
          {problem.value ? (
            <ProblemBox problem={problem.value} again={() => take.analyse()} />
          ) : (
            busy.value && t(busy.value.key, busy.value.args)
          )}
        </td>
      </tr>
    );
  }
  const score = clip.scoreOf(answer);
  const { agreement } = compare(spoken(first?.segments ?? []), spoken(answer.segments), answer.audio.duration_ms);
  return (
    <tr data-model={model}>
      <th scope="row">{model}</th>
      <td>{t(modeName(String(answer.options.mode)))}</td>
      <td>
        {clock(answer.speech_ms)} ({percent(answer.speech_ratio)})
      </td>
      <td>{answer.segments.length}</td>
      <td>{take === clip.a ? '' : percent(agreement)}</td>
      {scored && <td>{score?.f1.toFixed(3)}</td>}
      {scored && <td>{score && seconds(score.missedMs)}</td>}
      {scored && <td>{score && seconds(score.falseMs)}</td>}
      <td>
        {take !== clip.a && (
          <button type="button" class="quiet" aria-label={t('doModel', { name: model })} onClick={() => use(clip, model)}>
            {t('modelsUse')}
          </button>
        )}
      </td>
    </tr>
  );
}

/** The settings are then of this model; the others stay to be looked at. */
function use(clip: Clip, model: string): void {
  const settings = clip.a.settings.value;
  if (!settings) return;
  clip.turning.value = 'a';
  clip.change(withModel(settings, model));
  clip.compareModels();
}
