import type { Generator } from "@exitkit/core-gpu";
import type { Matrix } from "./evidence.ts";

/** `‖xᵢ‖₂` of every row. */
export function norms({ n, d, data }: Matrix): Float64Array {
  const made = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let sum = 0;
    for (let p = 0; p < d; p++) sum += data[i * d + p]! ** 2;
    made[i] = Math.sqrt(sum);
  }
  return made;
}

/** Mean of the given rows, `[d]`. */
function meanOf({ d, data }: Matrix, rows: Int32Array): Float64Array {
  const mean = new Float64Array(d);
  for (const row of rows) for (let p = 0; p < d; p++) mean[p]! += data[row * d + p]!;
  return mean.map((sum) => sum / rows.length);
}

/** `‖x_row − centre‖²`; more than `limit` may be returned as soon as that is certain. */
function squaredDistance(
  data: Float32Array | Float64Array,
  at: number,
  centre: Float32Array | Float64Array,
  from: number,
  d: number,
  limit: number,
): number {
  let sum = 0;
  let p = 0;
  for (; p + 8 <= d; p += 8) {
    const a = data[at + p]! - centre[from + p]!;
    const b = data[at + p + 1]! - centre[from + p + 1]!;
    const c = data[at + p + 2]! - centre[from + p + 2]!;
    const e = data[at + p + 3]! - centre[from + p + 3]!;
    const f = data[at + p + 4]! - centre[from + p + 4]!;
    const g = data[at + p + 5]! - centre[from + p + 5]!;
    const h = data[at + p + 6]! - centre[from + p + 6]!;
    const i = data[at + p + 7]! - centre[from + p + 7]!;
    sum += a * a + b * b + (c * c + e * e) + (f * f + g * g + (h * h + i * i));
    if (sum > limit) return sum;
  }
  for (; p < d; p++) sum += (data[at + p]! - centre[from + p]!) ** 2;
  return sum;
}

/**
 * Herding: samples are taken one by one so that the mean of those taken stays as near as possible to the mean of all; the
 * next is `argmax ⟨w, x⟩`, then `w ← w + mean − x`, from w = mean. Of equals the first.
 *
 * Source: Welling, "Herding Dynamical Weights to Learn", ICML 2009; as iCaRL and DeepCore use it, without replacement.
 */
export function herding(features: Matrix, rows: Int32Array, count: number): Int32Array {
  const left = packed(features, rows);
  const mean = padded(meanOf(features, rows), left.d);
  const weights = mean.slice();
  return Int32Array.from({ length: count }, () => {
    const best = mostAlong(left, weights);
    for (let p = 0; p < left.d; p++) weights[p]! += mean[p]! - left.data[best * left.d + p]!;
    return takeOut(left, best);
  });
}

/** Which of the samples has the largest `⟨w, x⟩`. */
function mostAlong({ data, rows, n, d }: Packed, weights: Float64Array): number {
  let [best, most] = [0, Number.NEGATIVE_INFINITY];
  for (let at = 0, from = 0; at < n; at++, from += d) {
    let [one, two, three, four] = [0, 0, 0, 0];
    for (let p = 0; p < d; p += 4) {
      one += data[from + p]! * weights[p]!;
      two += data[from + p + 1]! * weights[p + 1]!;
      three += data[from + p + 2]! * weights[p + 2]!;
      four += data[from + p + 3]! * weights[p + 3]!;
    }
    const product = one + two + (three + four);
    if (product > most || (product === most && rows[at]! < rows[best]!)) [best, most] = [at, product];
  }
  return best;
}

/**
 * Greedy k-centre: samples are taken one by one, each the farthest from those taken; the first is the nearest to the mean. Of
 * equals the first.
 *
 * Source: Gonzalez 1985; as a coreset, Sener and Savarese, "Active Learning for CNNs: A Core-Set Approach", ICLR 2018.
 * Differs: the first sample is not drawn at random.
 */
export function kCentre(features: Matrix, rows: Int32Array, count: number): Int32Array {
  const left = packed(features, rows);
  const nearest = new Float64Array(left.n).fill(Number.POSITIVE_INFINITY);
  // Distances to the mean; the first is the nearest to it.
  farthest(left, padded(meanOf(features, rows), left.d), nearest);
  let next = nearest.reduce((best, distance, at) => (distance < nearest[best]! ? at : best), 0);
  nearest.fill(Number.POSITIVE_INFINITY);
  return Int32Array.from({ length: count }, () => {
    const centre = left.data.slice(next * left.d, (next + 1) * left.d);
    nearest[next] = nearest[left.n - 1]!;
    const row = takeOut(left, next);
    next = farthest(left, centre, nearest);
    return row;
  });
}

/** Lowers every sample's distance to the nearest centre where a new centre is nearer; gives which sample is the farthest now. */
function farthest({ data, rows, n, d }: Packed, centre: Float64Array, nearest: Float64Array): number {
  let next = 0;
  for (let at = 0, from = 0; at < n; at++, from += d) {
    const before = nearest[at]!;
    let sum = 0;
    // What is farther than before need not be known exactly.
    for (let p = 0; p < d && sum <= before; p += 8) {
      const a = data[from + p]! - centre[p]!;
      const b = data[from + p + 1]! - centre[p + 1]!;
      const c = data[from + p + 2]! - centre[p + 2]!;
      const e = data[from + p + 3]! - centre[p + 3]!;
      const f = data[from + p + 4]! - centre[p + 4]!;
      const g = data[from + p + 5]! - centre[p + 5]!;
      const h = data[from + p + 6]! - centre[p + 6]!;
      const i = data[from + p + 7]! - centre[p + 7]!;
      sum += a * a + b * b + (c * c + e * e) + (f * f + g * g + (h * h + i * i));
    }
    if (sum < before) nearest[at] = sum;
    const [own, most] = [nearest[at]!, nearest[next]!];
    if (own > most || (own === most && rows[at]! < rows[next]!)) next = at;
  }
  return next;
}

/** Samples side by side in memory, as many as are left: what walks over all of them again and again is several times as fast so. */
interface Packed {
  n: number;
  /** A multiple of eight; zeros fill up what the features lack. */
  readonly d: number;
  readonly data: Float64Array;
  /** Which sample each is. */
  readonly rows: Int32Array;
}

function packed({ d, data }: Matrix, rows: Int32Array): Packed {
  const wide = Math.ceil(d / 8) * 8;
  const own = new Float64Array(rows.length * wide);
  rows.forEach((row, at) => {
    own.set(data.subarray(row * d, (row + 1) * d), at * wide);
  });
  return { n: rows.length, d: wide, data: own, rows: rows.slice() };
}

function padded(values: Float64Array, d: number): Float64Array {
  const made = new Float64Array(d);
  made.set(values);
  return made;
}

/** Takes a sample out; the last one takes its place. Gives which sample it was. */
function takeOut(left: Packed, at: number): number {
  const { d, data, rows } = left;
  const row = rows[at]!;
  const last = --left.n;
  data.copyWithin(at * d, last * d, (last + 1) * d);
  rows[at] = rows[last]!;
  return row;
}

/**
 * Moderate coreset: −|d − median| with d the distance to the mean of the sample's class and the median that of its class.
 *
 * Source: Xia et al., "Moderate Coreset: A Universal Method of Data Selection", ICLR 2023.
 */
export function moderate(features: Matrix, labels: Int32Array, classes: number): Float64Array {
  const { d, data, n } = features;
  const made = new Float64Array(n);
  for (let k = 0; k < classes; k++) {
    const rows = Int32Array.from([...labels.keys()].filter((i) => labels[i] === k));
    if (rows.length === 0) continue;
    const mean = meanOf(features, rows);
    const distances = Float64Array.from(rows, (row) =>
      Math.sqrt(squaredDistance(data, row * d, mean, 0, d, Number.POSITIVE_INFINITY)),
    );
    const sorted = distances.slice().sort();
    const median = (sorted[Math.floor((rows.length - 1) / 2)]! + sorted[Math.floor(rows.length / 2)]!) / 2;
    rows.forEach((row, at) => {
      made[row] = -Math.abs(distances[at]! - median);
    });
  }
  return made;
}

/** Rounds of k-means at most. */
const ROUNDS = 50;

/**
 * Self-supervised prototypes: the distance to the nearest of `clusters` centres that k-means (k-means++ starts) finds in the
 * features, labels unseen; far ones are hard and stay.
 *
 * Source: Sorscher et al., "Beyond neural scaling laws", NeurIPS 2022. Differs: Euclidean distances.
 */
export function prototypes(features: Matrix, clusters: number, random: Generator): Float64Array {
  const { n, d, data } = features;
  const k = Math.min(clusters, n);
  let centres = new Float64Array(k * d);
  const nearest = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  let row = random.integer(n);
  for (let c = 0; c < k; c++) {
    centres.set(data.subarray(row * d, (row + 1) * d), c * d);
    let total = 0;
    for (let i = 0; i < n; i++) {
      nearest[i] = Math.min(nearest[i]!, squaredDistance(data, i * d, centres, c * d, d, nearest[i]!));
      total += nearest[i]!;
    }
    let drawn = random.uniform() * total;
    row = n - 1;
    for (let i = 0; i < n; i++) {
      drawn -= nearest[i]!;
      if (drawn < 0) {
        row = i;
        break;
      }
    }
  }
  const owner = new Int32Array(n).fill(-1);
  for (let round = 0; round < ROUNDS; round++) {
    let moved = 0;
    for (let i = 0; i < n; i++) {
      let [best, least] = [0, Number.POSITIVE_INFINITY];
      for (let c = 0; c < k; c++) {
        const distance = squaredDistance(data, i * d, centres, c * d, d, least);
        if (distance < least) [best, least] = [c, distance];
      }
      if (owner[i] !== best) moved++;
      owner[i] = best;
      nearest[i] = least;
    }
    if (moved === 0) break;
    const [sums, counts] = [new Float64Array(k * d), new Int32Array(k)];
    for (let i = 0; i < n; i++) {
      counts[owner[i]!]!++;
      for (let p = 0; p < d; p++) sums[owner[i]! * d + p]! += data[i * d + p]!;
    }
    // A cluster that lost all its samples keeps its centre.
    centres = sums.map((sum, at) => {
      const count = counts[Math.floor(at / d)]!;
      return count === 0 ? centres[at]! : sum / count;
    });
  }
  return nearest.map(Math.sqrt);
}
