import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import { type DType, type Tensor, tensor } from "../../tensor.ts";
import { printSpec } from "../spec.ts";
import { type Operand, operatorOptions, type Value } from "../value.ts";
import { add, mul, neg } from "./arithmetic.ts";
import { concat, split } from "./join.ts";
import { slice } from "./select.ts";
import { reshape } from "./shape.ts";

/** Options of {@link rotaryEmbedding}. */
export interface RotaryEmbeddingOptions {
  /** Which features are turned together: i with i + d/2 (`"half"`, as in Llama), or 2i with 2i + 1 (`"pairs"`). Default `"half"`. */
  readonly layout?: "half" | "pairs";
}

const rotaryOptions = z.strictObject({ layout: z.enum(["half", "pairs"]).default("half") });

/**
 * Rotary position embedding: each pair of features (a, b) of a token is turned by the token's angle, to `(a · cos − b · sin,
 * b · cos + a · sin)`. x [..., t, d], cos and sin [t, d/2] (of {@link rotaryTables}) or whatever broadcasts to
 * [..., t, d/2] → [..., t, d].
 *
 * Source: Su et al., RoFormer, 2021, https://arxiv.org/abs/2104.09864
 *
 * @throws InputError where d is not a known even number.
 */
export function rotaryEmbedding(
  x: Value | Tensor,
  cos: Operand,
  sin: Operand,
  options?: RotaryEmbeddingOptions,
): Value {
  checkArguments("core-gpu.ops.rotaryEmbedding", { x: [x, "a traced value or a tensor"] });
  const { layout } = operatorOptions("rotaryEmbedding", rotaryOptions, options);
  const d = x.shape.at(-1);
  if (typeof d !== "number" || d % 2 !== 0 || x.shape.length < 2) {
    throw new InputError("core-gpu.ops.rotaryEmbedding", "x must be [..., t, d] with d even", printSpec(x));
  }
  const half = d / 2;
  const turned = (a: Value, b: Value): readonly [Value, Value] => [
    add(mul(a, cos), neg(mul(b, sin))),
    add(mul(b, cos), mul(a, sin)),
  ];
  if (layout === "half") {
    const [a, b] = split(x, [half, half], -1) as [Value, Value];
    return concat(turned(a, b), -1);
  }
  const [even, odd] = [0, 1].map((from) => slice(x, { axis: -1, from, step: 2 })) as [Value, Value];
  const column = [...x.shape.slice(0, -1), half, 1];
  return reshape(
    concat(
      turned(even, odd).map((part) => reshape(part, column)),
      -1,
    ),
    x.shape,
  );
}

/**
 * The angles of {@link rotaryEmbedding}: token t turns pair i by `t · base^(−2i/d)`.
 *
 * @param tokens How many. @param features d, even.
 * @param options.base Default 10000. @param options.dtype Default `"float32"`.
 * @returns cos and sin of the angles, each [tokens, d/2].
 * @example
 * ```ts
 * import { ops } from "@exitkit/core-gpu";
 * const { cos } = ops.rotaryTables(16, 8);
 * console.assert(cos.shape.join() === "16,4" && cos.data[0] === 1);
 * ```
 */
export function rotaryTables(
  tokens: number,
  features: number,
  options?: { readonly base?: number; readonly dtype?: DType },
): { readonly cos: Tensor; readonly sin: Tensor } {
  const { base, dtype } = operatorOptions("rotaryTables", tableOptions, { ...options, tokens, features });
  const half = features / 2;
  const table = (of: (angle: number) => number): Tensor =>
    tensor(
      dtype,
      [tokens, half],
      Array.from({ length: tokens * half }, (_, at) =>
        of(Math.floor(at / half) * base ** ((-2 * (at % half)) / features)),
      ),
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

const tableOptions = z.strictObject({
  tokens: z.int().min(1),
  features: z.int().min(2).multipleOf(2),
  base: z.number().positive().default(10000),
  dtype: z.enum(["float32", "float64"]).default("float32"),
});
