/** The panel of the microphone. */

import { useEffect, useRef } from 'preact/hooks';
import { t } from '../text/i18n';
import { modeInAnswer } from '../text/names';
import { clock, seconds } from '../timeline/time';
import { ProblemBox } from '../ui/controls';
import { Rows } from '../ui/rows';
import { hasPlaceFor, SettingsPanel } from '../ui/SettingsPanel';
import type { Listening, LiveSegment } from './listening';
import { listenPanel } from './panel';

export function ListenPanel({ panel }: { panel: Listening }) {
  const { live } = panel;
  const section = useRef<HTMLElement>(null);
  useEffect(() => {
    section.current?.querySelector<HTMLElement>('button.primary')?.focus();
  }, [panel]);
  const refused = listenPanel.refused.value;
  useEffect(() => {
    if (refused > 0) section.current?.querySelector<HTMLElement>('button.stop')?.focus();
  }, [refused]);
  const title = t(live ? 'liveTitle' : 'recordTitle');
  return (
    <section
      ref={section}
      class={`card listen ${panel.running.value ? 'running' : ''}`}
      aria-label={title}
      data-segments={panel.segments.value.length}
    >
      <header>
        <div class="titles">
          <h2>{title}</h2>
          <p class="hint">{t(live ? 'liveHint' : 'recordHint')}</p>
        </div>
        <button type="button" class="quiet" onClick={() => void panel.close()}>
          {t('close')}
        </button>
      </header>
      <Troubles panel={panel} />
      <Buttons panel={panel} />
      <Picture panel={panel} />
      {live && panel.segments.value.length > 0 && <LiveTable panel={panel} />}
      {live && <LiveSettings panel={panel} />}
    </section>
  );
}

function Troubles({ panel }: { panel: Listening }) {
  const [mic, problem, settings, offer] = [panel.micProblem.value, panel.problem.value, panel.settings.value, panel.offer.value];
  const beside = problem && settings && offer && hasPlaceFor(problem.option, settings, offer);
  return (
    <>
      {mic && (
        <div class="problem" role="alert">
          <p>{t(mic.key, mic.args)}</p>
        </div>
      )}
      {problem && !beside && <ProblemBox problem={problem} again={() => void panel.start()} />}
    </>
  );
}

function Buttons({ panel }: { panel: Listening }) {
  const [state, madeBy] = [panel.state.value, panel.madeBy.value];
  const heard = panel.heardMs.value;
  return (
    <div class="toolbar">
      {panel.running.value ? (
        <button type="button" class="stop" onClick={() => void panel.stop()}>
          {t('stop')}
        </button>
      ) : (
        <button type="button" class="primary" disabled={panel.starting.value} onClick={() => void panel.start()}>
          {t('start')}
        </button>
      )}
      {panel.canOpenAsFile.value && (
        <button type="button" onClick={() => panel.openAsFile()}>
          {t('openAsFile')}
        </button>
      )}
      <span class="state" role="status" data-state={state}>
        {t(state)}
      </span>
      <span class="time">{heard > 0 && t('elapsed', { time: clock(heard).slice(0, -2) })}</span>
      {madeBy && <span class="hint made-by">{t('madeBy', { model: madeBy.model, mode: t(modeInAnswer(madeBy.mode)) })}</span>}
    </div>
  );
}

function Picture({ panel }: { panel: Listening }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => (canvas.current ? panel.picture.attach(canvas.current) : undefined), [panel]);
  return <canvas ref={canvas} class="live-picture" role="img" aria-label={t('livePicture')} />;
}

/** What is not known yet of speech that goes on is not a number; how long it has gone on so far is. */
function LiveTable({ panel }: { panel: Listening }) {
  const segments = panel.segments.value;
  const heard = panel.heardMs.value;
  const columns = [t('colIndex'), t('colStart'), t('colEnd'), t('colDuration'), t('colProbability')];
  const row = (place: number) => {
    const { start_ms, end_ms, speech_probability, forced_end } = segments[place] as LiveSegment;
    const open = end_ms === null;
    const length = open ? Math.max(0, heard - start_ms) : end_ms - start_ms;
    return (
      <tr key={place} data-place={place} data-open={open || undefined} class={forced_end ? 'forced' : undefined}>
        <td>{place + 1}</td>
        <td>{clock(start_ms)}</td>
        <td>{open ? '…' : clock(end_ms)}</td>
        <td>{open ? `${(length / 1000).toFixed(1)} s…` : seconds(length)}</td>
        <td>{speech_probability === null ? '…' : speech_probability.toFixed(3)}</td>
      </tr>
    );
  };
  return <Rows label={t('liveTable')} columns={columns} count={segments.length} row={row} growing kind="short" />;
}

function LiveSettings({ panel }: { panel: Listening }) {
  const [settings, offer] = [panel.settings.value, panel.offer.value];
  if (!settings || !offer) return null;
  const problem = panel.problem.value;
  return (
    <details open={hasPlaceFor(problem?.option ?? null, settings, offer) || undefined}>
      <summary>{t('settings')}</summary>
      <p class="hint">{t('liveNext')}</p>
      <SettingsPanel
        settings={settings}
        offer={offer}
        value={(name) => panel.value(name)}
        change={(next) => {
          panel.settings.value = next;
          panel.problem.value = null;
        }}
        problem={problem}
      />
    </details>
  );
}
