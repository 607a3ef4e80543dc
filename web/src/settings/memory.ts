/** What the page remembers; where the browser keeps nothing, for as long as the page is open. */

type Kind = 'localStorage' | 'sessionStorage';

/** What the browser would not take. */
const kept = new Map<string, string>();

export function recall(kind: Kind, key: string): string | null {
  const here = kept.get(key);
  if (here !== undefined) return here;
  try {
    return window[kind].getItem(key);
  } catch {
    return null;
  }
}

export function remember(kind: Kind, key: string, value: string): void {
  try {
    window[kind].setItem(key, value);
    kept.delete(key);
  } catch {
    kept.set(key, value);
  }
}

export function forget(kind: Kind, key: string): void {
  kept.delete(key);
  try {
    window[kind].removeItem(key);
  } catch {
    // What was never kept need not be forgotten.
  }
}
