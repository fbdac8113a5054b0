import { type Device, ops, programToModel, type Session, spec, type Tensor, tensor, trace } from "@exitkit/core-gpu";
import { pause } from "../pause.ts";
import { choleskyFactor, choleskySolve, type Multiplier } from "./cholesky.ts";

/** Pivots that are looked for at a time; what the ones before explain of their columns is one matrix product on the device. */
const BLOCK = 64;

/** What is left of a diagonal of ones where the others explain a column but for rounding: sums of batches come from float32. */
const NOTHING = 1e-6;

/** Lᵀ, row-major [r, d], of a symmetric positive semidefinite matrix L Lᵀ [d, d] of rank r. */
export interface LowRank {
  readonly transposed: Float64Array;
  readonly rank: number;
}

/**
 * The factor of a matrix whose rank is far below its size, by Cholesky's algorithm with pivots: the columns that the ones taken so
 * far explain least come next, until they explain all. d·r² multiplications in place of d³ ÷ 3.
 *
 * @param a Symmetric, positive semidefinite [d, d].
 * @param most Rank that it cannot exceed, such as its degrees of freedom.
 */
export async function lowRankFactor(device: Device, a: Float64Array, d: number, most: number): Promise<LowRank> {
  const product = await openProduct(device);
  try {
    const transposed = new Float64Array(most * d);
    const left = Float64Array.from({ length: d }, (_, i) => a[i * d + i]!);
    let rank = 0;
    while (rank < most) {
      const pivots = largest(left, Math.min(BLOCK, most - rank));
      if (pivots.length === 0) break;
      const explained = rank === 0 ? null : await product.of(transposed, rank, d, pivots);
      await pause();
      rank += takePivots(a, d, transposed, rank, left, pivots, explained);
    }
    return { transposed: transposed.subarray(0, rank * d), rank };
  } finally {
    await product.release();
  }
}

/** The indices of the largest entries above {@link NOTHING}, at most `count`. */
function largest(values: Float64Array, count: number): readonly number[] {
  const candidates = Array.from(values.keys()).filter((i) => values[i]! > NOTHING);
  return candidates.sort((i, j) => values[j]! - values[i]!).slice(0, count);
}

/** Factor rows of pivots, given what the rows before explain of their columns, [d, b]. Returns how many were independent. */
function takePivots(
  a: Float64Array,
  d: number,
  transposed: Float64Array,
  from: number,
  left: Float64Array,
  pivots: readonly number[],
  explained: Float64Array | null,
): number {
  const b = pivots.length;
  const columns = pivots.map((pivot, at) => {
    const column = a.slice(pivot * d, (pivot + 1) * d);
    if (explained !== null) for (let i = 0; i < d; i++) column[i]! -= explained[i * b + at]!;
    return column;
  });
  const waiting = new Set(pivots.keys());
  let rank = from;
  while (waiting.size > 0) {
    const rest = (at: number) => columns[at]![pivots[at]!]!;
    const best = [...waiting].reduce((most, at) => (rest(at) > rest(most) ? at : most));
    if (!(rest(best) > NOTHING)) break;
    waiting.delete(best);
    const root = Math.sqrt(rest(best));
    const row = transposed.subarray(rank * d, (rank + 1) * d);
    const column = columns[best]!;
    for (let i = 0; i < d; i++) {
      row[i] = column[i]! / root;
      left[i]! -= row[i]! * row[i]!;
    }
    for (const at of waiting) takeOff(columns[at]!, row, row[pivots[at]!]!);
    rank++;
  }
  // Pivots that were taken, or that the others explain, are not looked at again.
  for (const pivot of pivots) left[pivot] = 0;
  return rank - from;
}

function takeOff(column: Float64Array, row: Float64Array, factor: number): void {
  for (let i = 0; i < column.length; i++) column[i]! -= factor * row[i]!;
}

/** L times its rows at the pivots, [d, b], on the device. */
async function openProduct(device: Device): Promise<{
  of(transposed: Float64Array, rank: number, d: number, pivots: readonly number[]): Promise<Float64Array>;
  release(): Promise<void>;
}> {
  const program = trace(({ l, s }) => ({ product: ops.matmul(ops.transpose(l, [1, 0]), s) }), {
    l: spec("float64", ["r", "d"]),
    s: spec("float64", ["r", "b"]),
  });
  const session: Session = await device.load(programToModel(program));
  return {
    async of(transposed, rank, d, pivots) {
      const rows = new Float64Array(rank * pivots.length);
      for (let p = 0; p < rank; p++) {
        for (let at = 0; at < pivots.length; at++) rows[p * pivots.length + at] = transposed[p * d + pivots[at]!]!;
      }
      const l = tensor("float64", [rank, d], transposed.subarray(0, rank * d));
      const { product } = await session.run({ l, s: tensor("float64", [rank, pivots.length], rows) });
      return (product as Tensor).data as Float64Array;
    },
    release: () => session.release(),
  };
}

/** A function that solves ((1 − λ) L Lᵀ + λ I) x = b in place for b [d], 0 < λ. */
export type ShrunkSolver = (b: Float64Array) => void;

/**
 * Solvers for shrinkages of one factor, in r × r by Woodbury's identity:
 * x = (b − (1 − λ) L (λ I + (1 − λ) LᵀL)⁻¹ Lᵀ b) ÷ λ.
 */
export async function shrunkSolvers(
  { transposed, rank: r }: LowRank,
  d: number,
  multiplier: Multiplier,
): Promise<(shrinkage: number) => Promise<ShrunkSolver>> {
  const inner = r === 0 ? new Float64Array(0) : (await multiplier.multiply(transposed, r, d)).slice(0, r * r);
  return async (shrinkage) => {
    const factor = inner.map((value) => (1 - shrinkage) * value);
    for (let i = 0; i < r; i++) factor[i * r + i]! += shrinkage;
    await choleskyFactor(factor, r, multiplier);
    return (b) => {
      const projected = new Float64Array(r);
      for (let p = 0; p < r; p++) {
        let sum = 0;
        for (let i = 0; i < d; i++) sum += transposed[p * d + i]! * b[i]!;
        projected[p] = sum;
      }
      choleskySolve(factor, r, projected);
      for (let p = 0; p < r; p++) takeOff(b, transposed.subarray(p * d, (p + 1) * d), (1 - shrinkage) * projected[p]!);
      for (let i = 0; i < d; i++) b[i]! /= shrinkage;
    };
  };
}
