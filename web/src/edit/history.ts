/** What was before, and what was taken back. */

export interface History<T> {
  readonly past: readonly T[];
  readonly present: T;
  readonly future: readonly T[];
}

/** Steps that can be taken back; each holds marks that it mostly shares with its neighbours. */
const MOST_STEPS = 500;

export function begun<T>(present: T): History<T> {
  return { past: [], present, future: [] };
}

export function advanced<T>(history: History<T>, present: T): History<T> {
  return { past: [...history.past, history.present].slice(-MOST_STEPS), present, future: [] };
}

export function undone<T>(history: History<T>): History<T> {
  const { past, present, future } = history;
  const last = past[past.length - 1];
  return last === undefined ? history : { past: past.slice(0, -1), present: last, future: [present, ...future] };
}

export function redone<T>(history: History<T>): History<T> {
  const { past, present, future } = history;
  const [next, ...rest] = future;
  return next === undefined ? history : { past: [...past, present], present: next, future: rest };
}
