/** The page: header, where audio comes in, the files, the footer. */

import { useEffect, useLayoutEffect } from 'preact/hooks';
import { forgetRemoved, open, removed, restoreRemoved } from '../clip/clips';
import { ListenPanel } from '../listen/ListenPanel';
import { listenPanel } from '../listen/panel';
import { address } from '../service/api';
import { health, unreachable } from '../service/state';
import { nextTheme, theme } from '../settings/theme';
import { language, setLanguage, t } from '../text/i18n';
import { Card } from './Card';
import { IconButton } from './controls';
import { FileTable } from './FileTable';
import { Intake } from './Intake';
import { Icon } from './icons';
import { KeysDialog, keysShown, pressedAnywhere } from './Keys';

export function App() {
  useEffect(() => {
    document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
    document.title = t('pageTitle');
  }, [language.value]);
  // Before the first painting, as everything that a person may do once the page is to be seen.
  useLayoutEffect(() => {
    document.addEventListener('keydown', pressedAnywhere);
    return () => document.removeEventListener('keydown', pressedAnywhere);
  }, []);
  return (
    <>
      <a class="skip" href="#content">
        {t('skip')}
      </a>
      <Header />
      <main id="content" tabIndex={-1}>
        <Fallback />
        <Intake />
        {listenPanel.shown.value && <ListenPanel key={listenPanel.shown.value.number} panel={listenPanel.shown.value} />}
        <FileTable />
        {open.value && <Card key={open.value.number} clip={open.value} />}
      </main>
      <Footer />
      <Removed />
      <KeysDialog />
    </>
  );
}

function Header() {
  const look = ({ auto: 'themeAuto', light: 'themeLight', dark: 'themeDark' } as const)[theme.value];
  return (
    <header class="top">
      <Icon name="live" />
      <h1>{t('pageName')}</h1>
      <p>{t('tagline')}</p>
      <nav>
        <a href={address('docs')}>{t('apiDocs')}</a>
        <button type="button" class="quiet" onClick={nextTheme}>
          {t(look)}
        </button>
        <button type="button" class="quiet" title={t('switchLanguage')} onClick={() => setLanguage(language.value === 'zh' ? 'en' : 'zh')}>
          {t('languageName')}
        </button>
        <IconButton icon="help" label="keysTitle" run={() => (keysShown.value = true)} kind="quiet" />
      </nav>
    </header>
  );
}

function nameOfModel(): string {
  const model = health.value?.model;
  return model?.revision ? `${model.id} ${model.revision}` : (model?.id ?? '');
}

/** What everyone should know before using the page. */
function Fallback() {
  return <div role="status">{health.value?.fallback && <p class="notice">{t('otherModel', { model: nameOfModel() })}</p>}</div>;
}

function Footer() {
  const told = health.value;
  if (unreachable.value) {
    return (
      <footer>
        <span>{t('err_network')}</span>
      </footer>
    );
  }
  if (!told) return <footer />;
  const others = told.models.filter((name) => name !== told.model?.name);
  return (
    <footer>
      {told.model && <span>{t('footModel', { model: nameOfModel() })}</span>}
      {others.length > 0 && <span>{t('footModels', { models: others.join(' · ') })}</span>}
      <span>{t('footVersion', { version: told.version })}</span>
      {told.device && <span>{t('footDevice', { device: told.device })}</span>}
      {told.status !== 'ready' && <span>{t('footState', { state: told.status })}</span>}
    </footer>
  );
}

/** What was removed can be had back until it is waved away. */
function Removed() {
  const gone = removed.value;
  return (
    <div class="toast-place" role="status">
      {gone && (
        <div class="toast">
          <span>{gone.length === 1 ? t('removedOne', { name: gone[0]?.clip.name ?? '' }) : t('removedMany', { count: gone.length })}</span>
          <button type="button" onClick={restoreRemoved}>
            {t('restore')}
          </button>
          <IconButton icon="remove" label="close" run={forgetRemoved} kind="quiet" />
        </div>
      )}
    </div>
  );
}
