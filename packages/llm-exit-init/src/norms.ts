import { InputError, type Tensor } from "@exitkit/core-gpu";

/** The norm in front of a model's own head. */
export interface FinalNorm {
  /** `rms`: x ÷ √(mean x² + ε) · weight; `layer`: (x − mean x) ÷ √(variance x + ε) · weight + bias. */
  readonly kind: "rms" | "layer";
  /** float32 `[d]` */
  readonly weight: Tensor<"float32">;
  /** float32 `[d]`, of `layer`. Default: none. */
  readonly bias?: Tensor<"float32">;
  /** ε > 0 */
  readonly epsilon: number;
}

/** What is done to a state before an exit's head reads it: nothing, or the model's final norm. */
export type StateNorm = "none" | "final";

/** @throws InputError unless the norm is that of states of d features. */
export function checkNorm(caller: string, norm: FinalNorm, d: number): void {
  const { kind, weight, bias, epsilon } = norm ?? {};
  const known = kind === "rms" || kind === "layer";
  if (!known || !(epsilon > 0)) {
    const expectation = 'the final norm must be { kind: "rms" or "layer", weight [d], epsilon > 0 }';
    throw new InputError(caller, expectation, `kind ${kind}, epsilon ${epsilon}`);
  }
  for (const [name, given] of Object.entries({ weight, bias })) {
    if (given === undefined && name === "bias") continue;
    if (given?.dtype === "float32" && given.data.length === d) continue;
    throw new InputError(caller, `the final norm's ${name} must be float32 [${d}]`, `${given?.shape ?? "none"}`);
  }
}

/** The norm of one state, float32 in and out, float64 between. */
export function applyNorm(norm: FinalNorm, from: Float32Array, into: Float32Array): void {
  const d = from.length;
  let mean = 0;
  if (norm.kind === "layer") for (let i = 0; i < d; i++) mean += from[i]! / d;
  let square = 0;
  for (let i = 0; i < d; i++) square += (from[i]! - mean) ** 2;
  const scale = 1 / Math.sqrt(square / d + norm.epsilon);
  const weight = norm.weight.data;
  const bias = norm.bias?.data;
  for (let i = 0; i < d; i++) into[i] = (from[i]! - mean) * scale * weight[i]! + (bias?.[i] ?? 0);
}
