/** Buttons over the waveform. */

import { h, icon } from './dom';
import { setText } from './i18n';
import type { TextKey } from './texts';
import { clock } from './time';

const PLAY = 'M8 5v14l11-7z';
const PAUSE = 'M7 5h3.5v14H7zM13.5 5H17v14h-3.5z';
const PATHS = {
  previous: 'M7 5h2v14H7zM19 5v14l-9-7z',
  next: 'M15 5h2v14h-2zM5 5v14l9-7z',
  zoomOut: 'M4 11h16v2H4z',
  zoomIn: 'M11 4h2v7h7v2h-7v7h-2v-7H4v-2h7z',
  zoomFit: 'M4 6h2v12H4zM18 6h2v12h-2zM7.5 12l3.5-3.5V11h2V8.5l3.5 3.5-3.5 3.5V13h-2v2.5z',
} as const;

export interface ToolbarActions {
  play(): void;
  step(by: number): void;
  zoom(factor: number): void;
  fit(): void;
}

export class Toolbar {
  readonly element: HTMLElement;
  private readonly play: HTMLButtonElement;
  private readonly time = h('output', { class: 'time', tLabel: 'position' });
  private durationMs = 0;

  constructor(actions: ToolbarActions) {
    this.play = iconButton('play', PLAY, actions.play);
    this.play.classList.add('primary');
    this.element = h(
      'div',
      { class: 'toolbar', role: 'group', tLabel: 'playback' },
      this.play,
      iconButton('previous', PATHS.previous, () => actions.step(-1)),
      iconButton('next', PATHS.next, () => actions.step(1)),
      this.time,
      h('span', { class: 'spring' }),
      iconButton('zoomOut', PATHS.zoomOut, () => actions.zoom(0.5)),
      iconButton('zoomIn', PATHS.zoomIn, () => actions.zoom(2)),
      iconButton('zoomFit', PATHS.zoomFit, actions.fit),
    );
  }

  setDuration(ms: number): void {
    this.durationMs = ms;
    this.showTime(0);
  }

  showTime(ms: number): void {
    this.time.textContent = `${clock(ms)} / ${clock(this.durationMs)}`;
  }

  showPlaying(on: boolean): void {
    setText(this.play, on ? 'pause' : 'play', {}, 'label');
    setText(this.play, on ? 'pause' : 'play', {}, 'title');
    this.play.replaceChildren(icon(on ? PAUSE : PLAY));
  }
}

export function iconButton(key: TextKey, path: string, run: () => void): HTMLButtonElement {
  return h('button', { type: 'button', class: 'icon-button', tLabel: key, tTitle: key, onclick: run }, icon(path));
}
