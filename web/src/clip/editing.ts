/** Corrections of one file: marks with a history, kept in the browser until they are taken away. */

import { computed, signal } from '@preact/signals';
import { advanced, begun, type History, redone, undone } from '../edit/history';
import { addMark, type Edge, type Mark, marksOf, mergeWithNext, moveEdge, newMark, relabel, removeMark, splitMark } from '../edit/marks';
import { forgetMarks, keyOf, storedMarks, storeMarks } from '../edit/stored';
import type { Segment } from '../service/types';

/** Of a mark that is added where the playhead stands. */
const ADDED_MS = 1000;

export class Editing {
  private readonly history = signal<History<readonly Mark[]> | null>(null);
  /** While an edge is dragged. */
  private readonly preview = signal<readonly Mark[] | null>(null);
  readonly selected = signal<number | null>(null);
  /** Whether there is anything that has not been taken away. */
  readonly unsaved = signal(false);
  private readonly key: string;

  constructor(
    file: File,
    private readonly durationMs: () => number,
  ) {
    this.key = keyOf(file);
    const stored = storedMarks(this.key);
    if (stored) {
      this.history.value = begun<readonly Mark[]>(stored);
      this.unsaved.value = true;
    }
  }

  /** Null while nothing is corrected. */
  readonly marks = computed<readonly Mark[] | null>(() => this.preview.value ?? this.history.value?.present ?? null);
  readonly active = computed(() => this.history.value !== null);
  readonly canUndo = computed(() => (this.history.value?.past.length ?? 0) > 0);
  readonly canRedo = computed(() => (this.history.value?.future.length ?? 0) > 0);

  get selectedMark(): Mark | null {
    return this.marks.value?.find(({ id }) => id === this.selected.value) ?? null;
  }

  begin(segments: readonly Segment[]): void {
    this.history.value ??= begun<readonly Mark[]>(marksOf(segments));
  }

  /** Back to the detector's; what was corrected is gone. */
  discard(): void {
    this.history.value = null;
    this.selected.value = null;
    this.taken();
  }

  /** It has been exported: nothing would be lost. */
  taken(): void {
    this.unsaved.value = false;
    forgetMarks(this.key);
  }

  private commit(marks: readonly Mark[]): void {
    const { history } = this;
    this.preview.value = null;
    if (!history.value || same(marks, history.value.present)) return;
    history.value = advanced(history.value, marks);
    this.keep();
  }

  private keep(): void {
    this.unsaved.value = true;
    storeMarks(this.key, this.history.value?.present ?? []);
  }

  private get present(): readonly Mark[] {
    return this.history.value?.present ?? [];
  }

  /** All of them at once, as from a file; it can be taken back. */
  replace(marks: readonly Mark[]): void {
    this.history.value ??= begun<readonly Mark[]>([]);
    this.selected.value = null;
    this.commit(marks);
  }

  /** Shows where an edge would be. */
  drag(id: number, edge: Edge, ms: number): void {
    this.preview.value = moveEdge(this.present, id, edge, ms, this.durationMs());
  }

  drop(): void {
    if (this.preview.value) this.commit(this.preview.value);
  }

  move(id: number, edge: Edge, ms: number): void {
    this.commit(moveEdge(this.present, id, edge, ms, this.durationMs()));
  }

  /** A new one of this stretch, which is then selected. */
  add(startMs: number, endMs = startMs + ADDED_MS): void {
    const { label = null, channel = null } = this.selectedMark ?? this.present[0] ?? {};
    const mark = newMark(Math.min(startMs, endMs), Math.max(startMs, endMs), label, channel);
    this.commit(addMark(this.present, mark, this.durationMs()));
    if (this.present.some(({ id }) => id === mark.id)) this.selected.value = mark.id;
  }

  remove(id: number): void {
    this.commit(removeMark(this.present, id));
    this.selected.value = null;
  }

  split(id: number, ms: number): void {
    this.commit(splitMark(this.present, id, ms));
  }

  merge(id: number): void {
    this.commit(mergeWithNext(this.present, id));
  }

  /** False where another one of that label is in the way. */
  relabel(id: number, text: string): boolean {
    const marks = relabel(this.present, id, text);
    if (marks) this.commit(marks);
    return marks !== null;
  }

  undo(): void {
    this.step(undone);
  }

  redo(): void {
    this.step(redone);
  }

  private step(take: typeof undone): void {
    const { history } = this;
    if (!history.value) return;
    history.value = take(history.value);
    this.keep();
  }
}

function same(one: readonly Mark[], other: readonly Mark[]): boolean {
  return one.length === other.length && one.every((mark, at) => sameMark(mark, other[at]));
}

function sameMark(one: Mark, other: Mark | undefined): boolean {
  return (
    one === other || (one.id === other?.id && one.start_ms === other.start_ms && one.end_ms === other.end_ms && one.label === other.label)
  );
}
