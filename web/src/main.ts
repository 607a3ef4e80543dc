/** The page: header, where audio comes in, the cards, the footer. */

import { address, health } from './api';
import { CardList } from './cards';
import { catalogue } from './catalogue';
import { h, icon } from './dom';
import { applyLanguage, language, setLanguage, setText } from './i18n';
import { ListenPanel } from './listen';
import { ProblemBox } from './problem';
import { applyTheme, nextTheme, theme } from './theme';

const UPLOAD = 'M11 16V7.8L7.7 11.1 6.3 9.7 12 4l5.7 5.7-1.4 1.4L13 7.8V16zM5 18h14v2H5z';
const RECORD = 'M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11h2a4 4 0 0 0 8 0h2a6 6 0 0 1-5 5.9V21h-2v-4.1A6 6 0 0 1 6 11z';
const LIVE = 'M3 11h2v2H3zM7 8h2v8H7zM11 4h2v16h-2zM15 8h2v8h-2zM19 11h2v2h-2z';

const list = h('div', { class: 'cards' });
const cards = new CardList(list);
let panel: ListenPanel | null = null;

/** Of what was dropped. */
const refused = new ProblemBox();

/** Browsers hand a folder over as if it were a file, but let nobody read it. */
function addDropped({ items, files }: DataTransfer): void {
  refused.clear();
  const entries = [...items].filter((item) => item.kind === 'file').map((item) => item.webkitGetAsEntry());
  const folders = new Set(entries.filter((entry) => entry?.isDirectory).map((entry) => entry?.name));
  for (const name of folders) refused.tell('folder', { name: name ?? '' });
  cards.addFiles([...files].filter((file) => !folders.has(file.name)));
}

function header(): HTMLElement {
  const words = h('button', { type: 'button', class: 'quiet', t: 'languageName', tTitle: 'switchLanguage' });
  words.addEventListener('click', () => setLanguage(language() === 'zh' ? 'en' : 'zh'));
  const look = h('button', { type: 'button', class: 'quiet' });
  const showLook = (): void => setText(look, ({ auto: 'themeAuto', light: 'themeLight', dark: 'themeDark' } as const)[theme()]);
  look.addEventListener('click', () => {
    nextTheme();
    showLook();
  });
  showLook();
  const docs = h('a', { href: address('docs'), t: 'apiDocs' });
  const name = h('h1', { t: 'pageName' });
  return h('header', { class: 'top' }, icon(LIVE), name, h('p', { t: 'tagline' }), h('nav', {}, docs, look, words));
}

function intake(): HTMLElement {
  const picker = h('input', { type: 'file', multiple: true, accept: 'audio/*,video/*,.wav,.flac,.mp3,.m4a,.opus,.ogg,.amr,.webm', hidden: true });
  picker.addEventListener('change', () => {
    cards.addFiles(picker.files ?? []);
    picker.value = '';
  });
  const choose = h('button', { type: 'button', class: 'primary', onclick: () => picker.click() }, icon(UPLOAD), h('span', { t: 'choose' }));
  const record = h('button', { type: 'button', onclick: () => listen(false) }, icon(RECORD), h('span', { t: 'record' }));
  const live = h('button', { type: 'button', onclick: () => listen(true) }, icon(LIVE), h('span', { t: 'live' }));
  return h(
    'section',
    { class: 'intake', tLabel: 'sourceLabel' },
    h('div', {}, h('p', { class: 'lead', t: 'dropTitle' }), h('p', { class: 'hint', t: 'dropHint' })),
    h('div', { class: 'buttons' }, choose, record, live, picker),
  );
}

const listenPlace = h('div');
/** What everyone should know before using the page; filled with the footer. */
const notice = h('div', { role: 'status' });

function listen(live: boolean): void {
  const open = (): void => {
    panel = new ListenPanel(live, (file) => cards.addFiles([file]), () => (panel = null));
    listenPlace.replaceChildren(panel.element);
    panel.element.querySelector<HTMLElement>('button.primary')?.focus();
  };
  // What is being heard is not thrown away by a slip.
  if (panel?.running) panel.element.querySelector<HTMLElement>('button.stop')?.focus();
  else if (panel) void panel.close().then(open);
  else open();
}

/** A file may be dropped anywhere. */
function acceptDrops(): void {
  let depth = 0;
  const mark = (change: number): void => {
    depth = change === 0 ? 0 : depth + change;
    document.body.classList.toggle('dropping', depth > 0);
  };
  document.addEventListener('dragenter', () => mark(1));
  document.addEventListener('dragleave', () => mark(-1));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    mark(0);
    if (event.dataTransfer) addDropped(event.dataTransfer);
  });
}

async function fillFooter(footer: HTMLElement): Promise<void> {
  try {
    const { model, models, fallback, version, device, status } = await health();
    const entries: HTMLElement[] = [];
    const named = model?.revision ? `${model.id} ${model.revision}` : (model?.id ?? '');
    if (model) entries.push(h('span', { t: ['footModel', { model: named }] }));
    const others = models.filter((name) => name !== model?.name);
    if (others.length > 0) entries.push(h('span', { t: ['footModels', { models: others.join(' · ') }] }));
    entries.push(h('span', { t: ['footVersion', { version }] }));
    if (fallback) notice.replaceChildren(h('p', { class: 'notice', t: ['otherModel', { model: named }] }));
    if (device) entries.push(h('span', { t: ['footDevice', { device }] }));
    if (status !== 'ready') entries.push(h('span', { t: ['footState', { state: status }] }));
    footer.replaceChildren(...entries);
    if (status === 'loading') setTimeout(() => void fillFooter(footer), 2000);
  } catch {
    footer.replaceChildren(h('span', { t: 'networkTitle' }));
  }
}

const footer = h('footer');
document.body.append(
  h('a', { class: 'skip', href: '#content', t: 'skip' }),
  header(),
  h('main', { id: 'content', tabindex: -1 }, notice, intake(), refused.element, listenPlace, list),
  footer,
);
applyTheme();
applyLanguage();
acceptDrops();
void fillFooter(footer);
// Asked for ahead of the first file; who needs it and has not got it asks again, and tells what is wrong.
void catalogue().catch(() => undefined);
