import { readdirSync, readFileSync } from "node:fs";
import {
  compileProgram,
  type Device,
  gradients,
  ops,
  type Program,
  type Spec,
  type Tensor,
  trace,
  type Value,
} from "../src/index.ts";
import { type Case, type CaseOptions, call, feedsOf, type Packed, programOf, unpack } from "./program-support.ts";

/** A call of one function of `ops` with PyTorch's answer and PyTorch's gradients. */
export interface GradientCase extends Case {
  /** For each result the gradient that arrives there; null for results that carry none. */
  readonly arriving: readonly (Packed | null)[];
  /** For each tensor the gradient of Σ result · arriving; null for those that are not floats. */
  readonly gradients: readonly (Packed | null)[];
  /** False where finite differences say nothing (kinks, straight-through estimators). */
  readonly smooth?: boolean;
  /** The least operator set with the operator; default 11. */
  readonly opset?: number;
}

const folder = new URL("../fixtures/gradients/", import.meta.url);

/** The golden cases of every family, by the family's name. */
export const families: readonly (readonly [string, readonly GradientCase[]])[] = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => {
    const { cases } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as { cases: readonly GradientCase[] };
    return [name.replace(".json", ""), cases] as const;
  });

/**
 * One program for many cases: inputs `inputs.i.j` and `arriving.i.j`; outputs `outputs.i.j`, `gradients.i.j` (of the float
 * tensors) and the scalar `losses.i.0` = Σ result · arriving, where something differentiable comes out.
 */
export function gradientProgram(cases: readonly GradientCase[], options: CaseOptions = {}) {
  const forward = programOf(cases, options);
  const shapes = new Map(forward.outputs.map((port) => [port.name, port.spec]));
  const specs = {
    inputs: forward.inputSpecs.inputs,
    arriving: cases.map(({ arriving }, number) =>
      Object.fromEntries(
        arriving.flatMap((packed, index): [string, Spec][] =>
          packed === null ? [] : [[String(index), shapes.get(`outputs.${number}.${index}`)!]],
        ),
      ),
    ),
  };
  return trace(({ inputs, arriving }) => {
    const parts = cases.map((test, number) => {
      const operands = inputs[number]!;
      const outputs = call(test, number, operands);
      const terms = Object.entries(arriving[number]!).map(([index, weight]) =>
        ops.sum(ops.mul(outputs[Number(index)]!, weight)),
      );
      if (terms.length === 0) return { outputs, losses: [], gradients: [] };
      const loss = terms.reduce((sum, term) => ops.add(sum, term));
      const floats = Object.fromEntries(
        operands.flatMap((operand, index): [string, Value][] =>
          test.gradients[index] == null ? [] : [[String(index), operand]],
        ),
      );
      return { outputs, losses: [loss], gradients: gradients(loss, floats) };
    });
    return {
      outputs: parts.map(({ outputs }) => outputs),
      losses: parts.map(({ losses }) => losses),
      gradients: parts.map((part) => part.gradients),
    };
  }, specs);
}

/** What {@link gradientProgram} takes. */
export function gradientFeeds(cases: readonly GradientCase[], options: CaseOptions = {}): Record<string, Tensor> {
  const arriving = cases.flatMap(({ arriving }, number) =>
    arriving.flatMap((packed, index): [string, Tensor][] =>
      packed === null ? [] : [[`arriving.${number}.${index}`, unpack(packed, options.dtype)]],
    ),
  );
  return { ...feedsOf(cases, options), ...Object.fromEntries(arriving) };
}

/** The largest difference from the golden value, relative to the larger of 1 and the golden value's largest element. */
export function distance(result: Tensor, golden: Packed): number {
  const wanted = golden.data.map(Number);
  const scale = Math.max(1, ...wanted.map(Math.abs).filter(Number.isFinite));
  let most = result.data.length === wanted.length ? 0 : Number.POSITIVE_INFINITY;
  Array.from(result.data, Number).forEach((value, at) => {
    const difference = Object.is(value, wanted[at]) ? 0 : Math.abs(value - wanted[at]!) / scale;
    if (!(difference <= most)) most = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  });
  return most;
}

/** Opens a session for one run; unoptimised, so that what we emit is what runs. */
export async function runProgram(
  device: Device,
  program: Program<unknown, unknown>,
  feeds: Record<string, Tensor>,
): Promise<Record<string, Tensor>> {
  const session = await compileProgram(device, program, { load: { optimization: "none" } });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}
