/** Every form of answer as a file, and the command line that gives the same. */

import { useSignal } from '@preact/signals';
import type { Clip } from '../clip/clip';
import { type Busy, megabytes } from '../clip/take';
import { exported, rendered } from '../service/api';
import { Problem } from '../service/problem';
import { copyText, save, stem } from '../service/save';
import type { Form, OptionValues } from '../service/types';
import { excerpt } from '../service/upload';
import { commandLine } from '../settings/command';
import { language, t } from '../text/i18n';
import { formName } from '../text/names';
import { ProblemBox, ProgressBar } from './controls';

export function Exports({ clip }: { clip: Clip }) {
  const busy = useSignal<Busy | null>(null);
  const problem = useSignal<Problem | null>(null);
  const corrected = clip.editing.active.value;
  const forms = clip.a.offer.value?.catalogue.forms ?? [];
  const shown = corrected ? forms.filter(({ needs_audio, streams }) => !needs_audio && !streams) : forms;
  const run = async (form: Form): Promise<void> => {
    problem.value = null;
    try {
      const blob = corrected ? await correctedAs(clip, form) : await detectedAs(clip, form, (state) => (busy.value = state));
      if (blob) save(blob, `${stem(clip.name)}.${form.extension}`);
      if (blob && corrected) clip.editing.taken();
    } catch (error) {
      problem.value = Problem.from(error);
    } finally {
      busy.value = null;
    }
  };
  return (
    <section class="exports">
      <h3>{t(corrected ? 'exportCorrected' : 'export')}</h3>
      <div class="buttons">
        {shown.map((form) => (
          <button
            key={form.name}
            type="button"
            data-format={form.name}
            title={t('exportAs', { name: t(formName(form.name)) })}
            onClick={() => void run(form)}
          >
            {t(formName(form.name))}
          </button>
        ))}
      </div>
      {busy.value && <ProgressBar busy={busy.value} />}
      {problem.value && <ProblemBox problem={problem.value} />}
      <Command clip={clip} />
    </section>
  );
}

function query(form: Form, options: OptionValues): OptionValues {
  return form.name === 'md' ? { ...options, lang: language.value } : options;
}

/** The corrected segments, written by the service as it writes its own. */
async function correctedAs(clip: Clip, form: Form): Promise<Blob> {
  const answer = clip.answer.value;
  const segments = (clip.editing.marks.value ?? []).map(({ start_ms, end_ms, label, channel }) => ({ start_ms, end_ms, label, channel }));
  return rendered({ name: clip.name, audio: answer?.audio, model: answer?.model, segments }, query(form, { format: form.name }));
}

/** Null where it was given up. */
async function detectedAs(clip: Clip, form: Form, report: (busy: Busy) => void): Promise<Blob | null> {
  const {
    take: { value: take },
  } = clip;
  const kept = take.keptRequest();
  if (kept && !form.needs_audio && !form.streams) return exported(kept.id, form.name, query(form, kept.options));
  const upload = excerpt(clip.file, query(form, take.request()), form.name, (done, total) => {
    const args = { done: megabytes(done), total: megabytes(total) };
    report({ key: 'uploadingOf', args, share: done / total, cancel: upload.cancel });
    if (done === total) report({ key: 'exporting', args: { name: t(formName(form.name)) }, share: null, cancel: upload.cancel });
  });
  try {
    return await upload.result;
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

function Command({ clip }: { clip: Clip }) {
  const copied = useSignal(false);
  const line = commandLine(clip.name, clip.take.value.request());
  const copy = async (): Promise<void> => {
    await copyText(line);
    copied.value = true;
    setTimeout(() => (copied.value = false), 1500);
  };
  return (
    <>
      <h3>{t('command')}</h3>
      <div class="command">
        <pre tabIndex={0} role="group" aria-label={t('command')}>
          <code>{line}</code>
        </pre>
        <button type="button" onClick={() => void copy()}>
          {t(copied.value ? 'copied' : 'copy')}
        </button>
      </div>
    </>
  );
}
