/** The cards on the page, one above the other. */

import { Card, type CardHost } from './card';
import { bringIntoView } from './dom';
import { Source } from './source';

export class CardList implements CardHost {
  readonly element: HTMLElement;
  private readonly cards: Card[] = [];
  private following = false;

  constructor(element: HTMLElement) {
    this.element = element;
    // Keys work without a click first: they go to the only, or the topmost, card.
    document.addEventListener('keydown', (event) => {
      if (event.target === document.body) this.cards[0]?.key(event);
    });
  }

  /** Below what is here; the first of them is brought into view. */
  addFiles(files: Iterable<File>): void {
    const added = [...files].map((file) => new Card(new Source(file), this, 1));
    this.cards.push(...added);
    this.element.append(...added.map((card) => card.element));
    const analysed = added.map((card) => card.analyse());
    const [first] = added;
    if (!first || first === this.cards[0]) return;
    bringIntoView(first.element);
    const busy = personWatched();
    // What came in as a line at the bottom is then larger; who has turned to something else is left there.
    void analysed[0]?.then(() => {
      if (!busy() && first.element.getBoundingClientRect().top > innerHeight / 3) bringIntoView(first.element, 'start');
    });
  }

  compare(card: Card): void {
    const { source } = card;
    if (!card.options) return;
    const number = this.of(source).length + 1;
    const copy = new Card(source, this, number, card.options.copy());
    const last = this.of(source).at(-1) ?? card;
    this.cards.splice(this.cards.indexOf(last) + 1, 0, copy);
    last.element.after(copy.element);
    void copy.presentLike(card);
    bringIntoView(copy.element);
  }

  removed(card: Card): void {
    this.cards.splice(this.cards.indexOf(card), 1);
  }

  /** Cards of one file show the same stretch. */
  moved(card: Card): void {
    if (this.following || !card.view) return;
    this.following = true;
    for (const other of this.of(card.source)) {
      if (other !== card && other.view) other.view.mirror(card.view);
    }
    // Scroll events of what was just mirrored come before the next frame ends.
    requestAnimationFrame(() => requestAnimationFrame(() => (this.following = false)));
  }

  /** One plays at a time. */
  playing(card: Card): void {
    for (const other of this.cards) if (other !== card) other.media.pause();
  }

  private of(source: Source): Card[] {
    return this.cards.filter((card) => card.source === source);
  }
}

/** Tells whether the person has done anything on the page since. */
function personWatched(): () => boolean {
  let busy = false;
  const note = (): void => void (busy = true);
  for (const name of ['wheel', 'touchmove', 'pointerdown', 'keydown']) document.addEventListener(name, note, { once: true, passive: true });
  return () => busy;
}
