import { InputError, type Tensor, tensor } from "@exitkit/core-gpu";
import { checkHidden, type HiddenUnits, sameHidden } from "../hidden-units.ts";
import type { StateNorm } from "../norms.ts";

/** A head for token exits in closed form: `logits = norm(R) · weightᵀ + bias`. Plain data. */
export interface TokenHead {
  /** How it was made, for people and tables. */
  readonly name: string;
  /** What is done to a state before. */
  readonly norm: StateNorm;
  /** What is added to the normed state; null: nothing. */
  readonly hidden: HiddenUnits | null;
  /** float32 `[v, d]`, or [v, d + h] with hidden units: a row for each token, as in PyTorch's `Linear`; the paper's W is its transpose. */
  readonly weight: Tensor<"float32">;
  /** float32 `[v]` */
  readonly bias: Tensor<"float32">;
}

/** A head of float64 numbers, rounded. */
export function tokenHead(
  name: string,
  norm: StateNorm,
  weight: Float64Array | Float32Array,
  bias: Float64Array | Float32Array,
  hidden: HiddenUnits | null = null,
): TokenHead {
  const v = bias.length;
  return {
    name,
    norm,
    hidden,
    weight: tensor("float32", [v, weight.length / v], Float32Array.from(weight)),
    bias: tensor("float32", [v], Float32Array.from(bias)),
  };
}

/** v, and d of the states that it reads. @throws InputError unless it is a head of finite numbers that fit one another. */
export function checkHead(caller: string, head: TokenHead): { readonly v: number; readonly d: number } {
  const { weight, bias, norm } = head ?? {};
  const [v, d] = weight?.shape ?? [];
  const shaped = weight?.dtype === "float32" && weight.shape.length === 2 && bias?.dtype === "float32";
  if (!shaped || v === undefined || d === undefined || bias.data.length !== v || !["none", "final"].includes(norm)) {
    const actual = weight === undefined ? typeof head : `weight [${weight.shape}], bias [${bias?.shape}], norm ${norm}`;
    const fix = "Make one with heads.classAware, heads.copy, …";
    throw new InputError(caller, "a head must have weight [v, d], bias [v] and a norm", actual, fix);
  }
  const h = checkHidden(caller, head.hidden, null);
  checkHidden(caller, head.hidden, d - h);
  return { v, d: d - h };
}

/** @throws InputError unless both heads read the same states and give logits of the same vocabulary. */
export function checkAlike(caller: string, a: TokenHead, b: TokenHead): { readonly v: number; readonly d: number } {
  const size = checkHead(caller, a);
  const other = checkHead(caller, b);
  const same = size.v === other.v && size.d === other.d && a.norm === b.norm && sameHidden(a.hidden, b.hidden);
  if (same) return size;
  const printed = [a, b].map(({ weight, norm }) => `[${weight.shape.join(", ")}] of states with norm ${norm}`);
  throw new InputError(caller, "both heads must be of one shape, norm and hidden units", printed.join(" and "));
}
