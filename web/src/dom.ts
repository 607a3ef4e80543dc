/** Elements made in one expression. */

import { setText, type Args, type Words } from './i18n';

type Value = string | number | boolean | undefined | EventListener | Words | [Words, Args];
type Attributes = Record<string, Value>;

const PLACES = { t: 'text', tLabel: 'label', tTitle: 'title', tPlaceholder: 'placeholder' } as const;

/**
 * An element. `onclick: f` listens; `t`, `tLabel`, `tTitle`, `tPlaceholder` are texts that follow the language; `true`
 * sets a bare attribute, `false` and `undefined` none.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children);
  return element;
}

function set(element: HTMLElement, name: string, value: Value): void {
  if (name in PLACES) {
    const [key, args] = Array.isArray(value) ? value : [value as Words, {}];
    setText(element, key, args, PLACES[name as keyof typeof PLACES]);
  } else if (typeof value === 'function') {
    element.addEventListener(name.slice(2), value);
  } else if (value === true) {
    element.setAttribute(name, '');
  } else if (value !== undefined && value !== false) {
    element.setAttribute(name, String(value));
  }
}

const SVG = 'http://www.w3.org/2000/svg';

/** A 24 x 24 line icon from path data. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(SVG, 'path');
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
}

/** Scrolls as far as it takes; smoothly, unless the person wants nothing to move. */
export function bringIntoView(element: Element, block: ScrollLogicalPosition = 'nearest'): void {
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  element.scrollIntoView({ block, behavior: still ? 'auto' : 'smooth' });
}

let counter = 0;

/** An id that nothing else on the page has. */
export function uniqueId(prefix: string): string {
  counter += 1;
  return `${prefix}-${counter}`;
}
