import {
  type Device,
  type Generator,
  InputError,
  ops,
  parseOptions,
  programToModel,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";

/** Random features beside a state's own: x becomes `[x, max(0, x·weightᵀ + bias)]`, d + h features. */
export type HiddenUnits<Leaf = Tensor<"float32">> = {
  /** float32 `[h, d]` */
  readonly weight: Leaf;
  /** float32 `[h]` */
  readonly bias: Leaf;
};

/** Options of {@link hiddenUnits}. */
export interface HiddenUnitsOptions {
  /** d, of the states that are read. */
  readonly features: number;
  /** h: how many. 4 to 16 times d pay where there are 50·(d + h) tokens to fit. */
  readonly units: number;
}

const schema = z.strictObject({ features: z.int().min(1), units: z.int().min(1) });

/**
 * Units of a hidden layer that is drawn, not trained: weights from N(0, 1/d), biases from U(−1, 1), for states whose features are of the
 * order of 1 (`norm: "final"`). Statistics over states with hidden units (`accumulateTokens`' `hidden`) give every head of statistics a bend
 * without a gradient: what is solved for stays linear.
 *
 * Source: not the paper's. Random features with a least-squares readout (Rahimi and Recht, 2008).
 * @throws InputError on an option that is unknown or out of range.
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { hiddenUnits } from "@exitkit/llm-exit-init";
 * const { weight, bias } = hiddenUnits(generator(1), { features: 64, units: 256 });
 * console.assert(weight.shape.join() === "256,64" && bias.shape.join() === "256");
 * ```
 */
export function hiddenUnits(generator: Generator, options: HiddenUnitsOptions): HiddenUnits {
  const { features, units } = parseOptions("llm-exit-init.hiddenUnits", schema, options);
  const scale = 1 / Math.sqrt(features);
  const weight = Float32Array.from({ length: units * features }, () => scale * generator.normal());
  const bias = Float32Array.from({ length: units }, () => 2 * generator.uniform() - 1);
  return { weight: tensor("float32", [units, features], weight), bias: tensor("float32", [units], bias) };
}

/** h; 0 without any. @throws InputError unless they are hidden units of states of d features. */
export function checkHidden(caller: string, hidden: HiddenUnits | null | undefined, d: number | null): number {
  if (hidden === null || hidden === undefined) return 0;
  const { weight, bias } = hidden;
  const [h, own] = weight?.shape ?? [];
  const shaped = weight?.dtype === "float32" && weight.shape.length === 2 && bias?.dtype === "float32";
  if (shaped && bias.data.length === h && (d === null || own === d)) return h!;
  const actual = `weight [${weight?.shape}], bias [${bias?.shape}]`;
  throw new InputError(caller, `hidden units must have weight [h, ${d ?? "d"}] and bias [h]`, actual);
}

/** Whether both are the same units; plain data of before there were any has none. */
export function sameHidden(a: HiddenUnits | null | undefined, b: HiddenUnits | null | undefined): boolean {
  if (a === null || a === undefined || b === null || b === undefined) return (a ?? null) === (b ?? null);
  const equal = (left: Float32Array, right: Float32Array) =>
    left === right || (left.length === right.length && left.every((value, at) => value === right[at]));
  return equal(a.weight.data, b.weight.data) && equal(a.bias.data, b.bias.data);
}

/** x [m, d] → [m, d + h]. */
export function withHidden(x: Value, hidden: HiddenUnits<Value> | null): Value {
  if (hidden === null) return x;
  return ops.concat([x, ops.relu(ops.linear(x, hidden.weight, hidden.bias))], 1);
}

/** Adds hidden units to rows [m, d] on the device. */
export async function openHidden(device: Device, hidden: HiddenUnits) {
  const [h, d] = hidden.weight.shape as [number, number];
  const program = trace(({ x, weight, bias }) => ({ features: withHidden(x, { weight, bias }) }), {
    x: spec("float32", ["m", d]),
    weight: spec("float32", [h, d]),
    bias: spec("float32", [h]),
  });
  const session = await device.load(programToModel(program));
  return {
    async apply(x: Float32Array, m: number): Promise<Float32Array> {
      const { features } = await session.run({ x: tensor("float32", [m, d], x), ...hidden });
      return features!.data as Float32Array;
    },
    release: () => session.release(),
  };
}
