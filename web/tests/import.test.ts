import { describe, expect, it } from 'vitest';
import { importMarks, NothingToImport } from '../src/edit/import';

const plain = (text: string): unknown[] =>
  importMarks(text).map(({ start_ms, end_ms, label, channel }) => [start_ms, end_ms, label, channel]);

describe('labels of Audacity', () => {
  it('are read, with lines of frequencies, a comma for a point, and names with spaces', () => {
    const text = '0.5\t1.25\tspeech_ch0\r\n\\\t100\t8000\r\n2,000\t3,5\tDr. Who\n';
    expect(plain(text)).toEqual([
      [500, 1250, null, 0],
      [2000, 3500, 'Dr. Who', null],
    ]);
  });

  it('without length are points, and no segments', () => {
    expect(() => importMarks('1.0\t1.0\there\n')).toThrow(NothingToImport);
  });
});

describe('RTTM', () => {
  it('is read, whatever stands between', () => {
    const text = ';; comment\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown a <NA> <NA>\nSPEAKER talk 1 1.500 2.000 <NA> <NA> anna <NA> <NA>\n';
    expect(plain(text)).toEqual([[1500, 3500, 'anna', null]]);
  });
});

const LONG = `File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "speech_ch1"
        xmin = 0
        xmax = 3
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.5
            text = "say ""hello"""
        intervals [3]:
            xmin = 1.5
            xmax = 3
            text = ""
    item [2]:
        class = "TextTier"
        name = "bells"
        xmin = 0
        xmax = 3
        points: size = 1
        points [1]:
            number = 2.5
            mark = "ding"
`;

describe('TextGrids', () => {
  it('are read in the long form, points left out', () => {
    expect(plain(LONG)).toEqual([[500, 1500, 'say "hello"', 1]]);
  });

  it('are read in the short form', () => {
    const text =
      'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n1\n"IntervalTier"\n"x"\n0\n2\n2\n0\n1\n""\n1\n2\n"b"\n';
    expect(plain(text)).toEqual([[1000, 2000, 'b', null]]);
  });
});

describe('JSON', () => {
  it('of Label Studio: what a person has said goes before what a model has', () => {
    const region = (start: number, end: number, label: string): unknown => ({
      type: 'labels',
      value: { start, end, labels: [label], channel: 0 },
    });
    const task = {
      data: { audio: 'x' },
      predictions: [{ result: [region(0, 1, 'speech')] }],
      annotations: [{ result: [region(1, 2, 'speech'), region(3, 4, 'noise')] }],
    };
    expect(plain(JSON.stringify([task]))).toEqual([
      [1000, 2000, null, 0],
      [3000, 4000, 'noise', 0],
    ]);
  });

  it('of this service and of FunASR', () => {
    expect(plain('{"segments":[{"start_ms":10,"end_ms":90,"label":"music"}]}')).toEqual([[10, 90, 'music', null]]);
    expect(plain('[{"key":"a","value":[[70,140],[200,250]]}]')).toHaveLength(2);
  });

  it.each(['{', '[]', '{}', '', 'Dear Sir or Madam', '[1]', '["a"]'])('that is something else is refused: %s', (text) => {
    expect(() => importMarks(text)).toThrow(NothingToImport);
  });
});
