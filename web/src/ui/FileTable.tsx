/** Several files: a line each, one of which is open. */

import { useSignal } from '@preact/signals';
import type { Clip } from '../clip/clip';
import { clips, open, removeAll, removeClip } from '../clip/clips';
import { exported } from '../service/api';
import { Problem } from '../service/problem';
import { save } from '../service/save';
import { keyNamed, t } from '../text/i18n';
import { formName } from '../text/names';
import { clock } from '../timeline/time';
import { IconButton, ProblemBox } from './controls';

const COLUMNS = ['colFile', 'colLength', 'colSpeech', 'colSegments', 'colWarnings', 'colState'] as const;
/** Of everything in one file. */
const ALL = 'json';

export function FileTable() {
  if (clips.value.length < 2) return null;
  return (
    <section class="files" aria-label={t('files')}>
      <header>
        <h2>{t('filesCount', { count: clips.value.length })}</h2>
        <DownloadAll />
        {open.value && (
          <button type="button" class="quiet" onClick={() => (open.value = null)}>
            {t('collapse')}
          </button>
        )}
        <button type="button" class="quiet" onClick={removeAll}>
          {t('removeAll')}
        </button>
      </header>
      <div class="rows" tabIndex={0} role="group" aria-label={t('filesTable')}>
        <table>
          <thead>
            <tr>
              {COLUMNS.map((key) => (
                <th key={key} scope="col">
                  {t(key)}
                </th>
              ))}
              <th scope="col">
                <span class="unseen">{t('remove')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {clips.value.map((clip) => (
              <FileRow key={clip.number} clip={clip} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function FileRow({ clip }: { clip: Clip }) {
  const answer = clip.a.answer.value;
  const isOpen = open.value === clip;
  const cells = answer
    ? [
        clock(answer.audio.duration_ms),
        `${(answer.speech_ratio * 100).toFixed(1)}%`,
        String(answer.segments.length),
        String(answer.warnings.length || ''),
      ]
    : ['', '', '', ''];
  const toggle = (): void => {
    open.value = isOpen ? null : clip;
  };
  return (
    <tr data-state={clip.state.value} aria-current={isOpen || undefined}>
      <th scope="row">
        <button type="button" class="quiet" aria-expanded={isOpen} title={clip.name} onClick={toggle}>
          {clip.name}
        </button>
      </th>
      {cells.map((cell, at) => (
        <td key={COLUMNS[at + 1]}>{cell}</td>
      ))}
      <td>
        <State clip={clip} />
      </td>
      <td>
        <IconButton icon="remove" label="removeFile" args={{ name: clip.name }} run={() => removeClip(clip)} />
      </td>
    </tr>
  );
}

function State({ clip }: { clip: Clip }) {
  const busy = clip.a.busy.value;
  if (busy && busy.share !== null) return <progress aria-label={t(busy.key, busy.args)} max={1} value={Math.min(1, busy.share)} />;
  const { problem } = clip.a;
  const why = problem.value instanceof Problem ? keyNamed(`err_${problem.value.code}`) : null;
  if (clip.state.value === 'failed') return <span class="failed">{why ? t(why) : t('stateFailed')}</span>;
  return (
    <>{t(({ waiting: 'stateWaiting', working: 'stateWorking', done: 'stateDone', cancelled: 'cancelled' } as const)[clip.state.value])}</>
  );
}

/** One file with the answers to all of them, in the form that several files are answered in. */
function DownloadAll() {
  const problem = useSignal<Problem | null>(null);
  const done = clips.value.filter((clip) => clip.a.answer.value !== null);
  const run = async (format: string): Promise<void> => {
    try {
      problem.value = null;
      save(await together(done, format), `segments.${format === ALL ? 'json' : format}`);
    } catch (error) {
      problem.value = Problem.from(error);
    }
  };
  return (
    <>
      {([ALL, 'csv', 'rttm'] as const).map((format) => (
        <button key={format} type="button" data-all={format} disabled={done.length === 0} onClick={() => void run(format)}>
          {t('downloadAll', { name: t(formName(format)) })}
        </button>
      ))}
      {problem.value && <ProblemBox problem={problem.value} />}
    </>
  );
}

async function together(done: readonly Clip[], format: string): Promise<Blob> {
  if (format === ALL) return new Blob([JSON.stringify(done.map((clip) => clip.a.answer.value))], { type: 'application/json' });
  const parts = await Promise.all(done.map((clip) => textOf(clip, format)));
  return new Blob([format === 'csv' ? asOneTable(parts) : parts.map(({ text }) => text).join('')], { type: 'text/plain' });
}

interface Part {
  name: string;
  text: string;
}

async function textOf(clip: Clip, format: string): Promise<Part> {
  const kept = clip.a.keptRequest();
  if (!kept) throw Problem.own('unreadable');
  return { name: clip.name, text: await (await exported(kept.id, format, kept.options)).text() };
}

/** One heading, and before each row the file that it is of. */
function asOneTable(parts: readonly Part[]): string {
  const [head = ''] = parts[0]?.text.split('\n', 1) ?? [];
  const rows = parts.flatMap(({ name, text }) => {
    const quoted = /[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
    const lines = text.split('\n').slice(1);
    return lines.filter((line) => line !== '').map((line) => `${quoted},${line}`);
  });
  return [`\uFEFFfile,${head.replace(/^\uFEFF/, '')}`, ...rows, ''].join('\n');
}
