import { InputError, type Tensor } from "@exitkit/core-gpu";
import { checkNorm, type FinalNorm } from "./norms.ts";

/** What a model's own logits are made by: the final norm and the output matrix, `norm(R) · weightᵀ + bias`. */
export interface OutputLayer {
  readonly norm: FinalNorm;
  /** E, float32 `[v, d]`: the embedding's rows where they are tied. */
  readonly weight: Tensor<"float32">;
  /** float32 `[v]`. Default: none. */
  readonly bias?: Tensor<"float32">;
}

/** v and d. @throws InputError unless it is an output layer of finite numbers. */
export function checkOutputLayer(caller: string, output: OutputLayer): { readonly v: number; readonly d: number } {
  const { norm, weight, bias } = output ?? {};
  const [v, d] = weight?.shape ?? [];
  if (weight?.dtype !== "float32" || weight.shape.length !== 2 || v === undefined || d === undefined) {
    const actual = weight === undefined ? "none" : `${weight.dtype} [${weight.shape.join(", ")}]`;
    throw new InputError(caller, "the output layer's weight must be float32 [v, d]", actual);
  }
  if (bias !== undefined && (bias.dtype !== "float32" || bias.data.length !== v)) {
    throw new InputError(caller, `the output layer's bias must be float32 [${v}]`, `[${bias.shape.join(", ")}]`);
  }
  checkNorm(caller, norm, d);
  return { v, d };
}
