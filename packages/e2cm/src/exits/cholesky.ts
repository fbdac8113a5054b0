import {
  type Device,
  ops,
  programToModel,
  rows,
  type Session,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";

import { pause } from "../pause.ts";

/** Columns that are factored at a time; what they change to their right is one matrix product on the device. */
const BLOCK = 128;

/** Multiplications of a run: some tens of milliseconds. */
const MOST_PRODUCTS = 4e8;

/** A session that multiplies P [m, b] with its transpose in float64, and the buffer for the largest product so far. */
export interface Multiplier {
  multiply(panel: Float64Array, m: number, b: number): Promise<Float64Array>;
  release(): Promise<void>;
}

/** Loads the matrix product P Pᵀ onto the device. */
export async function openMultiplier(device: Device): Promise<Multiplier> {
  const program = trace(({ q, p }) => ({ product: ops.matmul(q, ops.transpose(p, [1, 0])) }), {
    q: spec("float64", ["l", "b"]),
    p: spec("float64", ["m", "b"]),
  });
  const session: Session = await device.load(programToModel(program));
  let buffer = new Float64Array(0);
  return {
    async multiply(panel, m, b) {
      if (buffer.length < m * m) buffer = new Float64Array(m * m);
      const p = tensor("float64", [m, b], panel);
      // A run holds the process: a part of the rows at a time.
      const step = Math.max(1, Math.floor(MOST_PRODUCTS / (m * b)));
      for (let from = 0; from < m; from += step) {
        const to = Math.min(m, from + step);
        const product = tensor("float64", [to - from, m], buffer.subarray(from * m, to * m)) as Tensor;
        await session.run({ q: rows(p, from, to), p }, { into: { product } });
      }
      return buffer.subarray(0, m * m);
    },
    release: () => session.release(),
  };
}

/**
 * Replaces the lower triangle of a symmetric positive definite matrix A [d, d] by its Cholesky factor L, A = L Lᵀ; the upper
 * triangle is left as it was.
 *
 * @throws RangeError when a pivot is not positive: the matrix is not positive definite.
 */
export async function choleskyFactor(a: Float64Array, d: number, multiplier: Multiplier): Promise<void> {
  for (let from = 0; from < d; from += BLOCK) {
    const to = Math.min(d, from + BLOCK);
    factorPanel(a, d, from, to);
    const m = d - to;
    if (m === 0) return;
    const b = to - from;
    const panel = new Float64Array(m * b);
    for (let i = 0; i < m; i++) panel.set(a.subarray((to + i) * d + from, (to + i) * d + to), i * b);
    takeOff(a, d, to, await multiplier.multiply(panel, m, b));
    await pause();
  }
}

/** Takes a product [d − from, d − from] off the lower right corner. Not in the asynchronous function: V8 leaves its loops unoptimised. */
function takeOff(a: Float64Array, d: number, from: number, product: Float64Array): void {
  const m = d - from;
  for (let i = 0; i < m; i++) {
    const row = (from + i) * d + from;
    for (let j = 0; j <= i; j++) a[row + j]! -= product[i * m + j]!;
  }
}

/** Columns from…to of the factor, given that all columns before them have been taken off already. */
function factorPanel(a: Float64Array, d: number, from: number, to: number): void {
  for (let i = from; i < d; i++) {
    const row = i * d;
    const last = Math.min(i + 1, to);
    for (let j = from; j < last; j++) {
      const other = j * d;
      let sum0 = 0;
      let sum1 = 0;
      let p = from;
      for (; p + 1 < j; p += 2) {
        sum0 += a[row + p]! * a[other + p]!;
        sum1 += a[row + p + 1]! * a[other + p + 1]!;
      }
      for (; p < j; p++) sum0 += a[row + p]! * a[other + p]!;
      const rest = a[row + j]! - (sum0 + sum1);
      if (i === j) {
        if (!(rest > 0)) throw new RangeError(`the matrix is not positive definite: pivot ${j} of ${d} is ${rest}`);
        a[row + j] = Math.sqrt(rest);
      } else {
        a[row + j] = rest / a[other + j]!;
      }
    }
  }
}

/** Solves L Lᵀ x = b in place for one right-hand side b [d], given the factor of {@link choleskyFactor}. */
export function choleskySolve(l: Float64Array, d: number, b: Float64Array): void {
  for (let i = 0; i < d; i++) {
    let rest = b[i]!;
    for (let p = 0; p < i; p++) rest -= l[i * d + p]! * b[p]!;
    b[i] = rest / l[i * d + i]!;
  }
  for (let i = d - 1; i >= 0; i--) {
    const value = b[i]! / l[i * d + i]!;
    b[i] = value;
    for (let p = 0; p < i; p++) b[p]! -= l[i * d + p]! * value;
  }
}
