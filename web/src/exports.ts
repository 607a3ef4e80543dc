/** Every format of the service as a file, and the command line that gives the same. */

import { exported, Problem, type OptionValues } from './api';
import { h } from './dom';
import { language, setText, t } from './i18n';
import { commandLine, type Options } from './options';
import { megabytes, type ProgressBar } from './progress';
import { copyText, EXPORTS, save, stem, type ExportForm } from './save';
import type { Source } from './source';
import { excerpt } from './upload';

export class ExportPanel {
  readonly element: HTMLElement;
  private readonly code = h('code');

  /** `failed` is told of what goes wrong. */
  constructor(
    private readonly source: Source,
    private readonly options: Options,
    private readonly progress: ProgressBar,
    private readonly failed: (error: unknown) => void,
  ) {
    const buttons = EXPORTS.map((form) => this.button(form));
    this.element = h(
      'section',
      { class: 'exports' },
      h('h3', { t: 'export' }),
      h('div', { class: 'buttons' }, ...buttons),
      h('h3', { t: 'command' }),
      h('div', { class: 'command' }, h('pre', { tabindex: 0, role: 'group', tLabel: 'command' }, this.code), this.copyButton()),
    );
    this.refresh();
  }

  /** After a change of options. */
  refresh(): void {
    this.code.textContent = commandLine(this.source.name, this.options);
  }

  private button(form: ExportForm): HTMLElement {
    const run = (): void => void this.export(form).catch(this.failed);
    const button = h('button', { type: 'button', 'data-format': form.name, tTitle: ['exportAs', { name: form.label }], onclick: run }, form.label);
    if (form.key) setText(button, form.key);
    return button;
  }

  private copyButton(): HTMLElement {
    const button = h('button', { type: 'button', t: 'copy' });
    button.addEventListener('click', () => {
      void copyText(this.code.textContent ?? '').then(() => {
        setText(button, 'copied');
        setTimeout(() => setText(button, 'copy'), 1500);
      });
    });
    return button;
  }

  private async export(form: ExportForm): Promise<void> {
    const blob = form.fromAudio ? await this.fromAudio(form) : await this.fromKept(form);
    if (blob) save(blob, `${stem(this.source.name)}.${form.extension}`);
  }

  private query(form: ExportForm, options: OptionValues): OptionValues {
    return form.name === 'md' ? { ...options, lang: language() } : options;
  }

  private async fromKept(form: ExportForm): Promise<Blob | null> {
    const id = this.source.idOf(this.options.model);
    return id ? exported(id, form.name, this.query(form, this.options.changed())) : this.fromAudio(form);
  }

  private async fromAudio(form: ExportForm): Promise<Blob | null> {
    const upload = excerpt(this.source.file, this.query(form, this.options.request()), form.name, (done, total) => {
      this.progress.show('uploadingOf', { done: megabytes(done), total: megabytes(total) }, done / total, upload.cancel);
      if (done === total) this.progress.show('exporting', { name: form.key ? t(form.key) : form.label }, null, upload.cancel);
    });
    try {
      return await upload.result;
    } catch (error) {
      if (error instanceof DOMException) return null;
      throw error instanceof Problem ? error : Problem.network();
    } finally {
      this.progress.hide();
    }
  }
}
