/** What has come of it, in figures: how much is speech, who speaks, where two settings differ, what was odd. */

import type { Clip } from '../clip/clip';
import type { Detection, Warning } from '../service/types';
import { type Settings, withAudio, withPreset, withValue } from '../settings/settings';
import { keyNamed, t } from '../text/i18n';
import { presetName } from '../text/names';
import type { TextKey } from '../text/texts';
import { detailOf } from '../text/warnings';
import { clock } from '../timeline/time';
import { Figure } from './Corrections';

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

export function Summary({ answer }: { answer: Detection }) {
  const { segments, chunks, speech_ms: speechMs, audio } = answer;
  const share = audio.duration_ms > 0 ? speechMs / audio.duration_ms : 0;
  const count = chunks ? t('inChunks', { count: segments.length, chunks: chunks.length }) : String(segments.length);
  return (
    <div class="summary">
      <dl class="figures">
        <Figure name={t('segments')} value={count} />
        <Figure name={t('speech')} value={`${clock(speechMs)} (${percent(share)})`} />
        <Figure name={t('silence')} value={clock(audio.duration_ms - speechMs)} />
        {answer.overlap_ratio != null && <Figure name={t('overlapShare')} value={percent(answer.overlap_ratio)} />}
        <Figure name={t('duration')} value={clock(audio.duration_ms)} />
      </dl>
      <span class="meter" role="img" aria-label={t('ratioLabel', { percent: (share * 100).toFixed(1) })}>
        <span style={{ width: percent(share) }} />
      </span>
    </div>
  );
}

/** Of channels that were heard each by itself: how much each talks, and over whom. */
export function Channels({ answer }: { answer: Detection }) {
  const { channels, audio } = answer;
  if (!channels || channels.length < 2) return null;
  const share = (ms: number): string => (audio.duration_ms > 0 ? percent(ms / audio.duration_ms) : '');
  const caption = t('channelsCaption', { silence: clock(answer.silence_ms ?? 0), overlap: clock(answer.overlap_ms ?? 0) });
  return (
    <div class="sideways" role="group" aria-label={caption} tabIndex={0}>
      <table class="channels">
        <caption>{caption}</caption>
        <thead>
          <tr>
            {(['colChannel', 'segments', 'colTalk', 'colOverlap', 'colInterruptions'] as const).map((key) => (
              <th key={key} scope="col">
                {t(key)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {channels.map((one) => (
            <tr key={one.channel}>
              <th scope="row">{(one.channel ?? 0) + 1}</th>
              <td>{one.segment_count}</td>
              <td>
                {clock(one.speech_ms)} ({share(one.speech_ms)})
              </td>
              <td>
                {clock(one.overlap_ms)} ({share(one.overlap_ms)})
              </td>
              <td>{one.interruptions}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Two settings laid over each other, summed. */
export function Agreement({ clip }: { clip: Clip }) {
  const found = clip.comparison.value;
  if (!found) return null;
  return (
    <dl class="figures comparison" data-agreement={found.agreement.toFixed(4)}>
      <Figure name={t('agreement')} value={percent(found.agreement)} />
      <Figure name={t('both')} value={clock(found.bothMs)} />
      <Figure name={t('laneOnlyA')} value={clock(found.onlyAMs)} />
      <Figure name={t('laneOnlyB')} value={clock(found.onlyBMs)} />
    </dl>
  );
}

/** What was odd about a file, though it was answered; with what can be done about it. */
export function Warnings({ clip, answer }: { clip: Clip; answer: Detection }) {
  // That another model serves than the one that is set is said at the top of the page, with what to do about it.
  const warnings = answer.warnings.filter(({ code }) => code !== 'fallback_model');
  if (warnings.length === 0) return null;
  return (
    <ul class="warnings" aria-label={t('warnings')}>
      {warnings.map((warning) => (
        <WarningLine key={warning.code} clip={clip} answer={answer} warning={warning} />
      ))}
    </ul>
  );
}

/** In the page's own words where it has some; the figures are the service's, which are English. */
function WarningLine({ clip, answer, warning }: { clip: Clip; answer: Detection; warning: Warning }) {
  const key = keyNamed(`warn_${warning.code}`);
  const { parts, foreign } = detailOf(warning.code, warning.detail);
  const remedy = remedyFor(warning.code, clip, answer);
  return (
    <li data-code={warning.code}>
      <span>{key ? t(key) : warning.code}</span>
      <span class="hint" lang={foreign ? 'en' : undefined}>
        {parts.map(({ text, atMs }, at) =>
          atMs === undefined ? (
            text
          ) : (
            <button key={at} type="button" class="moment" title={t('goThere')} onClick={() => clip.seek(atMs)}>
              {text}
            </button>
          ),
        )}
      </span>
      {remedy && (
        <button type="button" onClick={() => clip.change(remedy.settings)}>
          {t(remedy.key, remedy.args)}
        </button>
      )}
    </li>
  );
}

/** Shorter files hold too little for a preset to change anything. */
const LEAST_FOR_PRESET_MS = 1000;

/** Whether there is more than digital silence. */
function heardAnything(clip: Clip): boolean {
  return (clip.wave.value?.loudest.value ?? 1) > 1e-4;
}

interface Remedy {
  key: TextKey;
  args?: Record<string, number | string>;
  settings: Settings;
}

/** The sensible thing to do, where there is one and the service offers it. */
function remedyFor(code: string, clip: Clip, answer: Detection): Remedy | null {
  const take = clip.take.value;
  const [settings, offer] = [take.settings.value, take.offer.value];
  if (!settings || !offer) return null;
  const audio = (name: string, value: string | number): Settings => withAudio(settings, name, value, offer);
  const preset = (name: string): Remedy | null => {
    const found = offer.catalogue.presets.find((one) => one.name === name);
    return found && settings.preset !== name
      ? { key: 'doPreset', args: { name: t(presetName(name)) }, settings: withPreset(settings, found, offer) }
      : null;
  };
  const remedies: Record<string, () => Remedy | null> = {
    channels_cancel: () => ({ key: 'doLoudest', settings: audio('channel', 'loudest') }),
    other_tracks: () => {
      const [track, tracks] = [answer.audio.track ?? 0, answer.audio.tracks ?? 1];
      const next = (track + 1) % tracks;
      return { key: 'doTrack', args: { n: next + 1, of: tracks }, settings: audio('track', next) };
    },
    late_start: () => ({ key: 'doClock', settings: audio('clock', 'container') }),
    time_gap: () => ({ key: 'doClock', settings: audio('clock', 'container') }),
    band_limited: () => preset('telephone'),
    // No setting makes speech of a file without sound, or of one that is too short to hold a word.
    very_quiet: () => (heardAnything(clip) && answer.audio.duration_ms >= LEAST_FOR_PRESET_MS ? preset('asr') : null),
    clipped: () => preset('noisy'),
    forced_cuts: () => (take.value('split') === 'hard' ? { key: 'doSplit', settings: withValue(settings, 'split', 'pause', offer) } : null),
  };
  const remedy = remedies[code]?.() ?? null;
  // What is in force already helps no more.
  return remedy && JSON.stringify(remedy.settings) !== JSON.stringify(settings) ? remedy : null;
}
