import { describe, expect, it } from 'vitest';
import { advanced, begun, redone, undone } from '../src/edit/history';
import { addMark, cleanLabel, type Mark, mergeWithNext, moveEdge, newMark, relabel, removeMark, splitMark } from '../src/edit/marks';

const times = (marks: readonly Mark[]): number[][] => marks.map(({ start_ms, end_ms }) => [start_ms, end_ms]);
const three = (): Mark[] => [newMark(100, 200, null, null), newMark(300, 400, null, null), newMark(500, 600, 'music', null)];
const idOf = (marks: readonly Mark[], place: number): number => marks[place]?.id ?? -1;

describe('an edge', () => {
  it('is stopped by the neighbour of its lane, by the other edge, and by the end of the sound', () => {
    const marks = three();
    expect(times(moveEdge(marks, idOf(marks, 0), 'end', 350, 1000))[0]).toEqual([100, 300]);
    expect(times(moveEdge(marks, idOf(marks, 1), 'start', 150, 1000))[1]).toEqual([200, 400]);
    expect(times(moveEdge(marks, idOf(marks, 0), 'start', 900, 1000))[0]).toEqual([190, 200]);
    expect(times(moveEdge(marks, idOf(marks, 1), 'end', 5000, 1000))[1]).toEqual([300, 1000]);
    expect(times(moveEdge(marks, idOf(marks, 0), 'start', -50, 1000))[0]).toEqual([0, 200]);
  });

  it('of another label may pass', () => {
    const marks = three();
    expect(times(moveEdge(marks, idOf(marks, 2), 'start', 350, 1000))).toContainEqual([350, 600]);
  });
});

describe('a new mark', () => {
  it('is cut to the room there is', () => {
    expect(times(addMark(three(), newMark(250, 900, null, null), 1000))).toContainEqual([250, 300]);
    expect(times(addMark(three(), newMark(900, 1900, null, null), 1000))).toContainEqual([900, 1000]);
  });

  it('is not added where one lies already, or too little room is left', () => {
    expect(addMark(three(), newMark(150, 160, null, null), 1000)).toHaveLength(3);
    expect(addMark(three(), newMark(295, 400, null, null), 1000)).toHaveLength(3);
  });
});

describe('marks', () => {
  it('are split in two of the same label', () => {
    const marks = three();
    const split = splitMark(marks, idOf(marks, 2), 540);
    expect(times(split).slice(2)).toEqual([
      [500, 540],
      [540, 600],
    ]);
    expect(split[3]?.label).toBe('music');
    expect(splitMark(marks, idOf(marks, 2), 505)).toHaveLength(3);
  });

  it('are merged with the next of their lane alone', () => {
    const marks = three();
    expect(times(mergeWithNext(marks, idOf(marks, 0)))).toEqual([
      [100, 400],
      [500, 600],
    ]);
    expect(mergeWithNext(marks, idOf(marks, 1))).toHaveLength(3);
  });

  it('are removed, and renamed where no other of that name is in the way', () => {
    const marks = three();
    expect(removeMark(marks, idOf(marks, 1))).toHaveLength(2);
    expect(relabel(marks, idOf(marks, 0), '主持人 anna!')?.[0]?.label).toBe('主持人 anna!');
    const over = [...marks, newMark(150, 250, 'noise', null)];
    expect(relabel(over, idOf(over, 3), 'speech')).toBeNull();
  });

  it('have labels of one line', () => {
    expect(cleanLabel(' 说话人 "A"\n\tB ')).toBe('说话人 "A" B');
    expect(cleanLabel('speech')).toBeNull();
    expect(cleanLabel('x'.repeat(90))).toHaveLength(64);
  });
});

describe('history', () => {
  it('goes back and forth, and forgets what was taken back when something new is done', () => {
    const third = advanced(advanced(begun(1), 2), 3);
    expect(undone(third).present).toBe(2);
    expect(redone(undone(third))).toEqual(third);
    expect(undone(undone(undone(third))).present).toBe(1);
    expect(redone(advanced(undone(third), 4)).present).toBe(4);
  });
});
