/** The cards on the page, one above the other. */

import { Card, type CardHost } from './card';
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

  addFile(file: File): Card {
    const card = new Card(new Source(file), this, 1);
    this.cards.push(card);
    this.element.append(card.element);
    void card.analyse();
    return card;
  }

  compare(card: Card): void {
    const { source } = card;
    if (!source.first || !card.options) return;
    const number = this.of(source).length + 1;
    const copy = new Card(source, this, number, card.options.copy());
    const last = this.of(source).at(-1) ?? card;
    this.cards.splice(this.cards.indexOf(last) + 1, 0, copy);
    last.element.after(copy.element);
    void copy.presentLike(card);
    copy.element.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
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
