/** What a number's schema means for a slider and a field. */

import type { Schema } from '../service/types';

/** Of a slider on which values lie the closer the smaller they are. */
const PLACES = 200;

export interface Scale {
  /** Of the field: all that the service takes. */
  min: number | undefined;
  max: number | undefined;
  step: number;
  /** The nearest value that the service takes. */
  nearest(value: number): number;
  /** Null where there is no end to slide to. */
  slider: Slider | null;
}

export interface Slider {
  from: number;
  to: number;
  step: number;
  valueAt(place: number): number;
  placeOf(value: number): number;
}

export function scaleOf(schema: Schema): Scale {
  const whole = schema.type === 'integer';
  const [min, max] = [schema.minimum ?? schema.exclusiveMinimum, schema.maximum ?? schema.exclusiveMaximum];
  const bounded = min !== undefined && max !== undefined;
  const step = bounded ? stepOf(max - min, whole) : whole ? 1 : 0.1;
  // As close as one comes to a bound that is excluded.
  const close = whole ? 1 : step / 100;
  const nearest = (value: number): number => {
    const number = whole ? Math.round(value) : value;
    if (min !== undefined && number <= min) return schema.minimum ?? min + close;
    if (max !== undefined && number >= max) return schema.maximum ?? max - close;
    return number;
  };
  const usual = typeof schema.default === 'number' ? schema.default : undefined;
  return { min, max, step: whole ? 1 : step, nearest, slider: bounded ? sliderOf(schema, min, max, step, usual ?? max, nearest) : null };
}

/** About a hundred to a thousand steps, each a power of ten. */
function stepOf(span: number, whole: boolean): number {
  const exponent = Math.floor(Math.log10(span / 100));
  return whole && exponent < 0 ? 1 : Number(`1e${exponent}`);
}

function sliderOf(schema: Schema, min: number, max: number, step: number, usual: number, nearest: (value: number) => number): Slider {
  // A range that is far wider than what is usual gives small values more room than large ones.
  if (min < 0 || usual - min >= (max - min) / 10) {
    const [from, to] = [schema.minimum ?? min + step, schema.maximum ?? max - step];
    return { from, to, step, valueAt: nearest, placeOf: (value) => value };
  }
  return {
    from: 0,
    to: PLACES,
    step: 1,
    valueAt: (place) => nearest(Number((min + (max - min) * (place / PLACES) ** 3).toPrecision(2))),
    placeOf: (value) => Math.cbrt((value - min) / (max - min)) * PLACES,
  };
}
