/** Times as people read them. */

/** `1:02:03.456`, hours only when there are any. */
export function clock(ms: number): string {
  const whole = Math.max(0, Math.round(ms));
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor(whole / 60_000) % 60;
  const seconds = `${pad(Math.floor(whole / 1000) % 60, 2)}.${pad(whole % 1000, 3)}`;
  return hours > 0 ? `${hours}:${pad(minutes, 2)}:${seconds}` : `${minutes}:${seconds}`;
}

/** `2.270 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`;
}

/** A tick's label: no more decimals than its step needs. */
export function tickLabel(ms: number, stepMs: number): string {
  const text = clock(ms);
  if (stepMs >= 1000) return text.slice(0, -4);
  return stepMs >= 100 ? text.slice(0, -2) : text;
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0');
}

/** What people type for a time: `1:02:03.456`, `2:03.4`, `3.4`; null where it is none. */
export function milliseconds(text: string): number | null {
  const found = /^(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?)$/.exec(text.trim());
  if (!found) return null;
  const [, hours = '0', minutes = '0', rest = '0'] = found;
  return Math.round((Number(hours) * 3600 + Number(minutes) * 60 + Number(rest.replace(',', '.'))) * 1000);
}
