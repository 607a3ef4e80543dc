/** The file that is open: everything about it. */

import { effect } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { Clip } from '../clip/clip';
import { applyToAll, clips, removeClip } from '../clip/clips';
import type { Detection } from '../service/types';
import { t } from '../text/i18n';
import { modeInAnswer } from '../text/names';
import { Corrections } from './Corrections';
import { IconButton, Note, ProblemBox, ProgressBar } from './controls';
import { Exports } from './Exports';
import { Agreement, Channels, Summary, Warnings } from './Findings';
import { Icon } from './icons';
import { pressed } from './Keys';
import { ModelTable } from './Models';
import { SegmentTable } from './SegmentTable';
import { hasPlaceFor, NOT_AUDIO, RAW, Reading, SettingsPanel } from './SettingsPanel';
import { Stage } from './Stage';

export function Card({ clip }: { clip: Clip }) {
  const place = useRef<HTMLElement>(null);
  const answer = clip.a.answer.value;
  useLayoutEffect(() => {
    // Keys work without a click first.
    const key = (event: KeyboardEvent): void => {
      if (event.target === document.body) pressed(event, clip);
    };
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  }, [clip]);
  useEffect(() => followed(clip, place.current), [clip]);
  const chunks = clip.answer.value?.chunks;
  return (
    <article
      ref={place}
      class="card"
      aria-label={clip.name}
      data-segments={answer?.segments.length}
      data-chunks={answer ? (chunks?.length ?? '') : undefined}
      onKeyDown={(event) => pressed(event, clip)}
    >
      <Head clip={clip} answer={answer} />
      <Troubles clip={clip} answer={answer} />
      {!answer && clip.a.early.value.length > 0 && (
        <SegmentTable
          label={t('tableCaption', { name: clip.name })}
          segments={clip.a.early.value}
          choose={(segment) => clip.play(segment)}
        />
      )}
      {answer ? <Body clip={clip} answer={answer} /> : <AsSamples clip={clip} />}
    </article>
  );
}

/**
 * A further file is brought into view, and again when its answer has made it larger; who has turned to something else
 * by then is left there.
 */
function followed(clip: Clip, element: HTMLElement | null): (() => void) | undefined {
  if (clips.peek().length < 2 || !element) return undefined;
  bringIntoView(element);
  if (clip.a.answer.peek()) return undefined;
  const left = new AbortController();
  for (const name of ['wheel', 'touchmove', 'pointerdown', 'keydown']) {
    document.addEventListener(name, () => left.abort(), { once: true, passive: true, signal: left.signal });
  }
  const stop = effect(() => {
    if (clip.a.answer.value && !left.signal.aborted) requestAnimationFrame(() => bringIntoView(element));
  });
  return () => {
    left.abort();
    stop();
  };
}

/** A smooth scroll, unless the person wants nothing to move. */
function bringIntoView(element: HTMLElement | null): void {
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  element?.scrollIntoView({ block: 'start', behavior: still ? 'auto' : 'smooth' });
}

function Head({ clip, answer }: { clip: Clip; answer: Detection | null }) {
  const compared = clip.b.value !== null;
  return (
    <header>
      <div class="titles">
        <h2>{clip.name}</h2>
        {answer && <Meta answer={clip.answer.value ?? answer} />}
        {clip.origin && <p class="hint">{t(clip.origin)}</p>}
      </div>
      {answer && (
        <button
          type="button"
          class="quiet compare"
          aria-label={t(compared ? 'compareEnd' : 'compare')}
          title={t(compared ? 'compareEnd' : 'compare')}
          aria-pressed={compared}
          onClick={() => (compared ? clip.endComparison() : clip.startComparison())}
        >
          <Icon name="compare" />
          <span>{t(compared ? 'compareEnd' : 'compare')}</span>
        </button>
      )}
      {answer && <AllModels clip={clip} />}
      <IconButton icon="remove" label="removeFile" args={{ name: clip.name }} run={() => removeClip(clip)} />
    </header>
  );
}

function AllModels({ clip }: { clip: Clip }) {
  const shown = clip.others.value.length > 0;
  const count = clip.a.offer.value?.catalogue.models(false).length ?? 0;
  if (count < 2) return null;
  const said = t(shown ? 'modelsEnd' : 'modelsCompare', { count });
  return (
    <button
      type="button"
      class="quiet compare"
      aria-label={said}
      title={said}
      aria-pressed={shown}
      onClick={() => (shown ? clip.endModels() : clip.compareModels())}
    >
      <Icon name="models" />
      <span>{said}</span>
    </button>
  );
}

function Meta({ answer: { audio, timing, model, options } }: { answer: Detection }) {
  const format = [audio.format, audio.subtype].filter(Boolean).join(' ');
  return (
    <p class="meta">
      <span class="made-by">{t('madeBy', { model: model.name, mode: t(modeInAnswer(String(options.mode))) })}</span>
      <span>{t('meta', { format, rate: audio.sample_rate, channels: audio.channels })}</span>
      {timing.inference_ms > 0 && <span>{t('timing', { ms: timing.total_ms, rtf: timing.rtf.toFixed(4) })}</span>}
    </p>
  );
}

/** What is under way, what went wrong, what was odd. */
function Troubles({ clip, answer }: { clip: Clip; answer: Detection | null }) {
  const takes = clip.b.value ? [clip.a, clip.b.value] : [clip.a];
  return (
    <>
      {takes.map((take, at) => {
        const [busy, problem, settings, offer] = [take.busy.value, take.problem.value, take.settings.value, take.offer.value];
        // What stands beside an option need not be said twice.
        const beside =
          problem !== 'cancelled' &&
          problem &&
          settings &&
          offer &&
          answer &&
          take === clip.take.value &&
          hasPlaceFor(problem.option, settings, offer);
        return (
          <div key={at === 0 ? 'a' : 'b'} class="troubles">
            {busy && <ProgressBar busy={busy} />}
            {problem && !beside && <ProblemBox problem={problem} again={() => take.analyse()} />}
          </div>
        );
      })}
      {answer && clip.take.value.notKept.value && <Note>{t('notKept')}</Note>}
      {clip.player.unplayable.value && answer && <Note>{t('unplayable')}</Note>}
      {clip.player.soundless.value && <Note>{t('soundless')}</Note>}
      {clip.noSpectrogram.value && (
        <Note>{t(clip.noSpectrogram.value === 'too long' ? 'spectrogramTooLong' : 'spectrogramUnreadable')}</Note>
      )}
      {clip.editing.unsaved.value && <Note>{t('unsaved')}</Note>}
      {answer && <Warnings clip={clip} answer={clip.answer.value ?? answer} />}
    </>
  );
}

function Body({ clip, answer }: { clip: Clip; answer: Detection }) {
  const wave = clip.wave.value;
  const shown = clip.answer.value ?? answer;
  return (
    <div class="card-body">
      <Summary answer={shown} />
      <Agreement clip={clip} />
      <ModelTable clip={clip} />
      <Channels answer={shown} />
      {wave && <Stage clip={clip} wave={wave} />}
      <div class="columns">
        <section class="turn">
          <h3>{t('settings')}</h3>
          <Turning clip={clip} answer={answer} />
        </section>
        <div class="list">
          <section class="found">
            <h3>{t('segments')}</h3>
            <SegmentTable
              label={t('tableCaption', { name: clip.name })}
              segments={shown.segments}
              chunks={shown.chunks ?? null}
              chosen={clip.chosen.value}
              choose={(segment) => clip.play(segment)}
            />
          </section>
          <section class="by-hand">
            <h3>{t('editing')}</h3>
            <Corrections clip={clip} />
          </section>
          <Exports clip={clip} />
        </div>
      </div>
    </div>
  );
}

/** A file that is none may be bare samples: what those are is asked for where it is refused. */
function AsSamples({ clip }: { clip: Clip }) {
  const { a } = clip;
  const [settings, offer, problem] = [a.settings.value, a.offer.value, a.problem.value];
  if (!settings || !offer || !problem || problem === 'cancelled' || problem.code !== NOT_AUDIO) return null;
  return (
    <div class="settings as-samples">
      <Reading
        settings={settings}
        offer={offer}
        value={(name) => a.value(name)}
        change={(next) => a.change(next)}
        problem={problem}
        only={RAW}
      />
    </div>
  );
}

/** The settings, of either take where there are two. */
function Turning({ clip, answer }: { clip: Clip; answer: Detection }) {
  const take = clip.take.value;
  const [settings, offer] = [take.settings.value, take.offer.value];
  if (!settings || !offer) return null;
  const problem = take.problem.value;
  return (
    <>
      {clip.b.value && (
        <fieldset class="modes">
          <legend>{t('turningWhich')}</legend>
          {(['a', 'b'] as const).map((which) => (
            <label key={which}>
              <input
                type="radio"
                name={`turning-${clip.number}`}
                value={which}
                checked={clip.turning.value === which}
                onChange={() => (clip.turning.value = which)}
              />
              <span>{t(which === 'a' ? 'laneA' : 'laneB')}</span>
            </label>
          ))}
        </fieldset>
      )}
      <p class="hint">{t('settingsHint')}</p>
      <SettingsPanel
        key={clip.turning.value}
        settings={settings}
        offer={offer}
        value={(name) => take.value(name)}
        change={(next) => clip.change(next)}
        problem={problem === 'cancelled' ? null : problem}
        channels={answer.audio.channels}
      />
      {clips.value.length > 1 && (
        <button type="button" onClick={() => applyToAll(clip)}>
          {t('applyToAll', { count: clips.value.length })}
        </button>
      )}
    </>
  );
}
