/** Buttons, progress, problems: what every part of the page is made of. */

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import type { Busy } from '../clip/take';
import { setApiKey } from '../service/api';
import type { Problem } from '../service/problem';
import { type Args, keyNamed, language, t } from '../text/i18n';
import type { TextKey } from '../text/texts';
import { Icon, type IconName } from './icons';

interface IconButtonProps {
  icon: IconName;
  label: TextKey;
  args?: Args;
  run: () => void;
  disabled?: boolean;
  pressed?: boolean;
  kind?: string;
  tab?: 0 | -1;
}

export function IconButton({ icon, label, args, run, disabled, pressed, kind = '', tab }: IconButtonProps) {
  const said = t(label, args);
  return (
    <button
      type="button"
      class={`icon-button ${kind}`}
      aria-label={said}
      title={said}
      aria-pressed={pressed}
      tabIndex={tab}
      disabled={disabled}
      onClick={run}
    >
      <Icon name={icon} />
    </button>
  );
}

/** A bar with a word, and a way out. */
export function ProgressBar({ busy }: { busy: Busy }) {
  const id = useId();
  return (
    <div class="progress">
      <span id={id} role="status">
        {t(busy.key, busy.args)}
      </span>
      {busy.cancel && (
        <button type="button" class="quiet" onClick={busy.cancel}>
          {t('cancel')}
        </button>
      )}
      {busy.share === null ? (
        <progress aria-labelledby={id} max={1} />
      ) : (
        <progress aria-labelledby={id} max={1} value={Math.min(1, busy.share)} />
      )}
    </div>
  );
}

/** Opens when there is a reason to; what a person has opened stays open. */
export function Fold({ title, open, children }: { title: string; open: boolean; children: ComponentChildren }) {
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (open && details.current) details.current.open = true;
  }, [open]);
  return (
    <details ref={details}>
      <summary>{title}</summary>
      {children}
    </details>
  );
}

export function Note({ children }: { children: ComponentChildren }) {
  return (
    <div class="problem calm" role="alert">
      {children}
    </div>
  );
}

/** What went wrong; asks for the key when that is what is missing, and offers another try where one may help. */
export function ProblemBox({ problem, again }: { problem: Problem | 'cancelled'; again?: () => void }) {
  if (problem === 'cancelled') {
    return (
      <Note>
        <p>{t('cancelled')}</p>
        {again && <Again key_="retry" run={again} />}
      </Note>
    );
  }
  return (
    <div class="problem" role="alert" data-code={problem.code}>
      {problem.status === 401 && <KeyForm done={() => again?.()} />}
      <Words problem={problem} />
      {again && problem.passing && problem.status !== 401 && (
        <Again key_={problem.code === 'no_such_analysis' ? 'again' : 'retry'} run={again} />
      )}
    </div>
  );
}

function Again({ key_, run }: { key_: TextKey; run: () => void }) {
  return (
    <button type="button" onClick={run}>
      {t(key_)}
    </button>
  );
}

/** In the page's words where it has some; else the service's, which are English. */
function Words({ problem: { code, title, detail } }: { problem: Problem }) {
  const [titleKey, detailKey] = [keyNamed(`err_${code}`), keyNamed(`err_${code}_detail`)];
  const own = detailKey ? t(detailKey) : '';
  const chinese = language.value === 'zh';
  return (
    <>
      <strong>{titleKey ? t(titleKey) : chinese || title === '' ? t('err_unknown') : title}</strong>
      {own && <p>{own}</p>}
      {detail && !own && <p lang={chinese ? 'en' : undefined}>{detail.replaceAll('`', '')}</p>}
      {detail && own && (
        <details class="foreign">
          <summary>{t('serviceSays')}</summary>
          <span lang="en">{detail.replaceAll('`', '')}</span>
        </details>
      )}
    </>
  );
}

function KeyForm({ done }: { done: () => void }) {
  const id = useId();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    setApiKey(String(new FormData(form).get('key') ?? '').trim());
    form.reset();
    done();
  };
  return (
    <form class="key" onSubmit={submit}>
      <strong>{t('keyTitle')}</strong>
      <label for={id}>{t('keyLabel')}</label>
      <span class="row">
        <input id={id} name="key" type="password" autocomplete="off" required />
        <button type="submit" class="primary">
          {t('keySubmit')}
        </button>
      </span>
      <p class="hint">{t('keyHint')}</p>
    </form>
  );
}
