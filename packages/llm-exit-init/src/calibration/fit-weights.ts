import { type Device, InputError, ops, spec, tensor } from "@exitkit/core-gpu";
import type { TokenHead } from "../heads/token-head.ts";
import type { FinalNorm } from "../norms.ts";
import { openHeads } from "./head-runner.ts";
import type { TokenRows } from "./rows.ts";

/** Loss, gradient and curvature at one choice of weights. */
interface Point {
  readonly loss: number;
  readonly gradient: readonly number[];
  readonly hessian: readonly (readonly number[])[];
}

/** What {@link fitWeights} gives. */
export interface FittedWeights {
  /** `[r]`, each ≥ 0. */
  readonly weights: readonly number[];
  /** Mean cross entropy in nats of the rows they were fitted on. */
  readonly crossEntropy: number;
}

const STEPS = 50;

/**
 * Weights w_r ≥ 0 of some heads' logits that give the least mean cross entropy, `−ln softmax(Σ w_r·logits_r)[next]`: a convex
 * problem in r numbers, solved by Newton's method. With one head w is 1 ÷ its temperature.
 *
 * A head whose weight would be negative is left out (weight 0) and the others are fitted again.
 */
export async function fitWeights(
  caller: string,
  device: Device,
  heads: readonly TokenHead[],
  rows: TokenRows,
  finalNorm: FinalNorm | undefined,
  signal: AbortSignal | undefined,
): Promise<FittedWeights> {
  const kept = heads.map((_, r) => r);
  for (;;) {
    const chosen = kept.map((r) => heads[r]!);
    const { weights, crossEntropy } = await newton(caller, device, chosen, rows, finalNorm, signal);
    const lowest = weights.indexOf(Math.min(...weights));
    if (weights[lowest]! >= 0) {
      return { weights: heads.map((_, r) => (kept.includes(r) ? weights[kept.indexOf(r)]! : 0)), crossEntropy };
    }
    if (kept.length === 1) {
      const fix = "Calibrate on text of the kind that the statistics are of.";
      throw new InputError(caller, `the head "${chosen[0]!.name}" must predict better than chance`, "worse", fix);
    }
    kept.splice(lowest, 1);
  }
}

async function newton(
  caller: string,
  device: Device,
  heads: readonly TokenHead[],
  rows: TokenRows,
  finalNorm: FinalNorm | undefined,
  signal: AbortSignal | undefined,
): Promise<FittedWeights> {
  signal?.throwIfAborted();
  const evaluate = await openPoint(caller, device, heads, rows, finalNorm);
  try {
    // At 0 all tokens are equally likely: from there the first step is safe, however large the logits are.
    let weights = heads.map(() => 0);
    let point = await evaluate.at(weights);
    if (![point.loss, ...point.gradient, ...point.hessian.flat()].every(Number.isFinite)) {
      const fix = "Check the rows' states and the heads.";
      throw new InputError(caller, "logits of all rows must be finite", "NaN or infinity", fix);
    }
    for (let step = 0; step < STEPS; step++) {
      const direction = solved(point.hessian, point.gradient);
      const slope = direction.reduce((sum, value, r) => sum + value * point.gradient[r]!, 0);
      if (!(slope > 1e-9)) break;
      let length = 1;
      let next = point;
      let moved = weights;
      while (length > 1e-6) {
        signal?.throwIfAborted();
        moved = weights.map((value, r) => value - length * direction[r]!);
        next = await evaluate.at(moved);
        if (next.loss <= point.loss - 1e-4 * length * slope) break;
        length /= 2;
      }
      if (!(next.loss < point.loss)) break;
      const gain = point.loss - next.loss;
      weights = moved;
      point = next;
      if (gain < 1e-7) break;
    }
    return { weights, crossEntropy: point.loss };
  } finally {
    await evaluate.release();
  }
}

async function openPoint(
  caller: string,
  device: Device,
  heads: readonly TokenHead[],
  rows: TokenRows,
  finalNorm: FinalNorm | undefined,
) {
  const r = heads.length;
  const scalars = Object.fromEntries(heads.map((_, at) => [`w${at}`, spec("float32", [])]));
  const runner = await openHeads(caller, device, heads, finalNorm, scalars, ({ logits, next, more }) => {
    const index = ops.unsqueeze(next, 1);
    // Less the label's own logit: cross entropy is −ln softmax at 0 then, and nothing large cancels.
    const shifted = logits.map((own) => ops.sub(own, ops.takeAlongAxis(own, index, { axis: 1 })));
    const whole = shifted.map((own, at) => ops.mul(own, more[`w${at}`]!)).reduce((a, b) => ops.add(a, b));
    const p = ops.softmax(whole, { axis: 1 });
    const means = shifted.map((own) => ops.sum(ops.mul(p, own), { axes: 1 }));
    const outputs: Record<string, ReturnType<typeof ops.sum>> = { loss: ops.sum(ops.logSumExp(whole, { axes: 1 })) };
    for (let a = 0; a < r; a++) {
      outputs[`g${a}`] = ops.sum(means[a]!);
      for (let b = 0; b <= a; b++) {
        const products = ops.sum(ops.mul(p, ops.mul(shifted[a]!, shifted[b]!)), { axes: 1 });
        outputs[`h${a}_${b}`] = ops.sum(ops.sub(products, ops.mul(means[a]!, means[b]!)));
      }
    }
    return outputs;
  });
  const total = rows.next.length;
  return {
    async at(weights: readonly number[]): Promise<Point> {
      const sums = new Map<string, number>();
      const feeds = Object.fromEntries(weights.map((value, at) => [`w${at}`, tensor("float32", [], [value])]));
      await runner.run(rows, feeds, (outputs) => {
        for (const [name, { data }] of Object.entries(outputs)) sums.set(name, (sums.get(name) ?? 0) + Number(data[0]));
      });
      const mean = (name: string) => sums.get(name)! / total;
      const range = weights.map((_, at) => at);
      return {
        loss: mean("loss"),
        gradient: range.map((a) => mean(`g${a}`)),
        hessian: range.map((a) => range.map((b) => mean(`h${Math.max(a, b)}_${Math.min(a, b)}`))),
      };
    },
    release: () => runner.release(),
  };
}

/** H⁻¹ g of a small system, its diagonal raised a little. */
function solved(hessian: readonly (readonly number[])[], gradient: readonly number[]): number[] {
  const r = gradient.length;
  const rows = hessian.map((row, a) => [
    ...row.map((value, b) => (a === b ? value * (1 + 1e-9) + 1e-12 : value)),
    gradient[a]!,
  ]);
  for (let pivot = 0; pivot < r; pivot++) {
    for (let row = pivot + 1; row < r; row++) {
      const factor = rows[row]![pivot]! / rows[pivot]![pivot]!;
      for (let column = pivot; column <= r; column++) rows[row]![column]! -= factor * rows[pivot]![column]!;
    }
  }
  const result = Array<number>(r).fill(0);
  for (let row = r - 1; row >= 0; row--) {
    let rest = rows[row]![r]!;
    for (let column = row + 1; column < r; column++) rest -= rows[row]![column]! * result[column]!;
    result[row] = rest / rows[row]![row]!;
  }
  return result;
}
