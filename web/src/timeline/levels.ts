/** Values by frame whose highest and mean over any stretch are told in few steps: an hour has 360,000 of them. */

/** Frames that are summed up together. */
const BLOCK = 256;

export class Levels {
  readonly values: Float32Array<ArrayBuffer>;
  private readonly highest: Float32Array;
  private readonly sums: Float64Array;

  constructor(frames: number) {
    this.values = new Float32Array(frames);
    this.highest = new Float32Array(Math.ceil(frames / BLOCK));
    this.sums = new Float64Array(this.highest.length);
  }

  get length(): number {
    return this.values.length;
  }

  /** Points over the frames from `first` to `last`, each as wide as there are frames for it. */
  spread(points: readonly number[], first: number, last: number): void {
    const scale = points.length / (last - first);
    for (let frame = first; frame < last; frame += 1) {
      this.values[frame] = points[Math.min(points.length - 1, Math.floor((frame - first) * scale))] ?? 0;
    }
    for (let block = Math.floor(first / BLOCK); block * BLOCK < last; block += 1) this.sumUp(block);
  }

  private sumUp(block: number): void {
    let [most, sum] = [0, 0];
    for (let frame = block * BLOCK; frame < Math.min((block + 1) * BLOCK, this.length); frame += 1) {
      const value = this.values[frame] ?? 0;
      if (value > most) most = value;
      sum += value;
    }
    this.highest[block] = most;
    this.sums[block] = sum;
  }

  /** The highest of the frames from `from` to `to`; 0 where there are none. */
  most(from: number, to: number): number {
    let most = 0;
    let at = from;
    while (at < to) {
      const whole = at % BLOCK === 0 && at + BLOCK <= to;
      const value = (whole ? this.highest[at / BLOCK] : this.values[at]) ?? 0;
      if (value > most) most = value;
      at += whole ? BLOCK : 1;
    }
    return most;
  }

  /** The mean of the frames from `from` to `to`; 0 where there are none. */
  mean(from: number, to: number): number {
    let sum = 0;
    let at = from;
    while (at < to) {
      const whole = at % BLOCK === 0 && at + BLOCK <= to;
      sum += (whole ? this.sums[at / BLOCK] : this.values[at]) ?? 0;
      at += whole ? BLOCK : 1;
    }
    return to > from ? sum / (to - from) : 0;
  }
}
