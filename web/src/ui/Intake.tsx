/** Where audio comes in, and what one should know before the first file. */

import { signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { addFiles, clips } from '../clip/clips';
import { listenPanel } from '../listen/panel';
import { sample } from '../service/api';
import { catalogue } from '../service/offered';
import { Problem } from '../service/problem';
import { health } from '../service/state';
import { keyNamed, t } from '../text/i18n';
import { ProblemBox } from './controls';
import { filesOf } from './dropped';
import { Icon } from './icons';

const dropping = signal(false);
const sampleProblem = signal<Problem | null>(null);
const nothingIn = signal<string | null>(null);

async function trySample(): Promise<void> {
  sampleProblem.value = null;
  try {
    const { file, origin } = await sample();
    addFiles([file], keyNamed(`sample_${origin}`));
  } catch (error) {
    sampleProblem.value = Problem.from(error);
  }
}

export function Intake() {
  const picker = useRef<HTMLInputElement>(null);
  // Before the first painting: what is dropped by then would be opened by the browser in the page's place.
  useLayoutEffect(acceptDrops, []);
  const small = clips.value.length > 0 || listenPanel.shown.value !== null;
  return (
    <section class={`intake ${small ? 'small' : ''} ${dropping.value ? 'dropping' : ''}`} aria-label={t('sourceLabel')}>
      <div>
        <p class="lead">{t('dropTitle')}</p>
        <p class="hint">{t('dropHint')}</p>
      </div>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => picker.current?.click()}>
          <Icon name="upload" />
          <span>{t('choose')}</span>
        </button>
        <button type="button" onClick={() => listenPanel.ask('record')}>
          <Icon name="record" />
          <span>{t('record')}</span>
        </button>
        <button type="button" onClick={() => listenPanel.ask('live')}>
          <Icon name="live" />
          <span>{t('live')}</span>
        </button>
        <button type="button" class="quiet sample" onClick={() => void trySample()}>
          {t('sample')}
        </button>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          data-pick=""
          accept={catalogue.value?.accept}
          onChange={(event) => {
            addFiles(event.currentTarget.files ?? []);
            event.currentTarget.value = '';
          }}
        />
      </div>
      {!small && <Facts />}
      {sampleProblem.value && <ProblemBox problem={sampleProblem.value} again={() => void trySample()} />}
      {nothingIn.value !== null && (
        <p class="complaint" role="alert">
          {t('folderEmpty', { name: nothingIn.value })}
        </p>
      )}
    </section>
  );
}

/** What is taken, and what becomes of it: as the service tells. */
function Facts() {
  const limits = health.value?.limits as Record<string, number> | undefined;
  const inputs = catalogue.value?.inputs ?? [];
  return (
    <ul class="facts">
      <li>{t('factPrivate')}</li>
      {limits && (
        <li>
          {t('factLimits', {
            size: t('megabytes', { n: limits.max_upload_mb ?? 0 }),
            hours: limits.max_audio_hours ?? 0,
            minutes: Math.round((limits.analysis_ttl_s ?? 0) / 60),
          })}
        </li>
      )}
      {inputs.length > 0 && (
        <li>
          <details>
            <summary>{t('factFormats', { count: inputs.length })}</summary>
            {inputs.join(' · ')}
          </details>
        </li>
      )}
    </ul>
  );
}

/** Files and folders may be dropped anywhere. */
function acceptDrops(): () => void {
  let depth = 0;
  const mark = (change: number): void => {
    depth = change === 0 ? 0 : depth + change;
    dropping.value = depth > 0;
  };
  const listeners: Partial<Record<keyof DocumentEventMap, (event: DragEvent) => void>> = {
    dragenter: () => mark(1),
    dragleave: () => mark(-1),
    dragover: (event) => event.preventDefault(),
    drop: (event) => {
      event.preventDefault();
      mark(0);
      if (event.dataTransfer) void take(event.dataTransfer);
    },
  };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener as EventListener);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener as EventListener);
  };
}

async function take(transfer: DataTransfer): Promise<void> {
  const { files, folders } = await filesOf(transfer);
  nothingIn.value = files.length === 0 ? (folders[0] ?? null) : null;
  addFiles(files);
}
