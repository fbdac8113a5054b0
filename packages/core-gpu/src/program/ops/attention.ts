import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import { type DType, type Tensor, tensor } from "../../tensor.ts";
import { broadcastShapes, sameShape } from "../dimensions.ts";
import { floats, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import { printSpec } from "../spec.ts";
import { apply, operatorOptions, type Value } from "../value.ts";
import { add } from "./arithmetic.ts";
import { sumTo } from "./common.ts";
import { concat } from "./join.ts";
import { lessOrEqual, where } from "./logic.ts";
import { iota } from "./scatter.ts";
import { slice } from "./select.ts";
import { unsqueeze } from "./shape.ts";

interface Scale {
  readonly scale: number;
}

/** Attention and, beside it, the weights of the values: the gradient is made of both. */
const Attention: Operator<Scale> = {
  name: "attention",
  onnx: "Softmax",
  infer(operands) {
    const [q, k, v, mask] = operands;
    requireDType(floats, ...operands);
    requireSameDType(...operands);
    const before = q!.shape.slice(0, -2);
    const [queries, d] = q!.shape.slice(-2);
    const [keys, e] = v!.shape.slice(-2);
    if (
      q!.shape.length < 2 ||
      !sameShape(k!.shape, [...before, keys!, d!]) ||
      !sameShape(v!.shape.slice(0, -2), before)
    ) {
      refuse("queries must be [..., s, d], keys [..., t, d] and values [..., t, e]");
    }
    const weights = [...before, queries!, keys!];
    if (mask !== undefined && !sameShape(broadcastShapes(mask.shape, weights) ?? [], weights)) {
      refuse("the mask must broadcast to [..., s, t]");
    }
    return [
      { dtype: q!.dtype, shape: [...before, queries!, e!] },
      { dtype: q!.dtype, shape: weights },
    ];
  },
  gradient({ ops, attributes: { scale }, operands: [q, k, v, mask], results: [y, weights], gradients, needed }) {
    const [d, ofWeights] = gradients;
    const p = weights!;
    // Σⱼ pⱼ · (∂ loss ÷ ∂ pⱼ) of each row is d · y where only y was used: the large matrix need not be read for it.
    const sums: Value[] = [];
    const slopes: Value[] = [];
    if (d != null) {
      slopes.push(ops.matmul(d, v!, { transposeB: true }));
      sums.push(ops.sum(ops.mul(d, y!), { axes: -1, keepDimensions: true }));
    }
    if (ofWeights != null) {
      slopes.push(ofWeights);
      sums.push(ops.sum(ops.mul(ofWeights, p), { axes: -1, keepDimensions: true }));
    }
    const total = (terms: readonly Value[]): Value => terms.reduce((sum, term) => ops.add(sum, term));
    const ofScores = needed[0] || needed[1] || needed[3] ? ops.mul(ops.sub(total(slopes), total(sums)), p) : null;
    return [
      needed[0] ? ops.mul(ops.matmul(ofScores!, k!), scale) : null,
      needed[1] ? ops.mul(ops.matmul(ofScores!, q!, { transposeA: true }), scale) : null,
      needed[2] && d != null ? ops.matmul(p, d, { transposeA: true }) : null,
      needed[3] ? sumTo(ops, ofScores!, mask!) : null,
    ];
  },
  emit({ graph, attributes: { scale }, inputs: [q, k, v, mask], outputs: [y, weights], inputSpecs: [spec] }) {
    const rank = spec!.shape.length;
    const perm = Array.from({ length: rank }, (_, axis) => axis);
    perm.push(...perm.splice(-2).reverse());
    const scaled = graph.node("Mul", [q!, graph.constant(tensor(spec!.dtype, [], [scale]))]);
    const scores = graph.node("MatMul", [scaled, graph.node("Transpose", [k!], { perm })]);
    const masked = mask === undefined ? scores : graph.node("Add", [scores, mask]);
    graph.node("Softmax", [masked], { axis: rank - 1 }, [weights!]);
    graph.node("MatMul", [weights!, v!], {}, [y!]);
  },
};

export const operators = [Attention] as readonly Operator[];

/** Options of {@link attention}. */
export interface AttentionOptions {
  /** Whether query i sees keys 0 … i only; s must be t. Default false. */
  readonly causal?: boolean;
  /** Which keys a query sees (bool), or what is added to the scores (float); broadcasts to [..., s, t]. Default: all. */
  readonly mask?: Value | Tensor;
  /** Factor of the scores. Default `1 ÷ √d`. */
  readonly scale?: number;
}

const attentionOptions = z.strictObject({
  causal: z.boolean().default(false),
  mask: z.custom<Value | Tensor>((value) => typeof value === "object" && value !== null).optional(),
  scale: z.number().optional(),
});

/** Added to the score of a key that a query does not see: e to this is 0, and no sum of scores comes near it. */
const unseen = -1e30;

/** Queries that are handled at once where attention is causal: the keys after them are left out altogether. */
const block = 128;

/**
 * Scaled dot-product attention `softmax(q · kᵀ · scale + mask) · v`, for each of the leading dimensions (samples, heads):
 * q [..., s, d], k [..., t, d], v [..., t, e] → [..., s, e]; float32 or float64. Causal attention over a known number of
 * tokens skips most of what the mask hides. PyTorch's `scaled_dot_product_attention`. ONNX MatMul, Softmax and arithmetic
 * (the operator Attention came with opset 23).
 *
 * Differs: a query that a bool mask lets see no key gets the mean of all values, not NaN.
 *
 * Source: Vaswani et al., Attention Is All You Need, 2017, https://arxiv.org/abs/1706.03762
 *
 * @throws InputError where the shapes do not fit, or d is symbolic and there is no scale.
 * @example
 * ```ts
 * import { ops, spec, trace } from "@exitkit/core-gpu";
 * const heads = spec("float32", ["n", 4, 16, 8]);
 * const program = trace(({ q, k, v }) => ({ y: ops.attention(q, k, v, { causal: true }) }), { q: heads, k: heads, v: heads });
 * console.assert(program.outputs[0]?.spec.shape.join() === "n,4,16,8");
 * ```
 */
export function attention(q: Value | Tensor, k: Value | Tensor, v: Value | Tensor, options?: AttentionOptions): Value {
  const caller = "core-gpu.ops.attention";
  checkArguments(caller, {
    q: [q, "a traced value or a tensor"],
    k: [k, "a traced value or a tensor"],
    v: [v, "a traced value or a tensor"],
  });
  const { causal, mask, scale = defaultScale(caller, q) } = operatorOptions("attention", attentionOptions, options);
  const added = mask?.dtype === "bool" ? where(mask, tensor(q.dtype, [], [0]), unseen) : mask;
  const attend = (...operands: readonly (Value | Tensor)[]): Value => apply(Attention, operands, { scale })[0]!;
  if (!causal) return added === undefined ? attend(q, k, v) : attend(q, k, v, added);
  const tokens = q.shape.at(-2);
  if (tokens === undefined || tokens !== k.shape.at(-2)) {
    throw new InputError(
      caller,
      "causal attention needs as many queries as keys",
      `${printSpec(q)} and ${printSpec(k)}`,
    );
  }
  if (typeof tokens === "string" || added !== undefined || tokens < 2 * block) {
    const future = typeof tokens === "string" ? futureOf(k as Value) : futureMask(q.dtype, 0, tokens);
    return attend(q, k, v, added === undefined ? future : add(future, added));
  }
  const parts: Value[] = [];
  for (let from = 0; from < tokens; from += block) {
    const to = Math.min(from + block, tokens);
    const seen = { axis: -2, to };
    const keys = to === tokens ? k : slice(k, seen);
    const values = to === tokens ? v : slice(v, seen);
    parts.push(attend(slice(q, { axis: -2, from, to }), keys, values, futureMask(q.dtype, from, to)));
  }
  return concat(parts, -2);
}

function defaultScale(caller: string, { shape }: Value | Tensor): number {
  const d = shape.at(-1);
  if (typeof d === "number") return 1 / Math.sqrt(d);
  throw new InputError(caller, "the scale must be given where d is not a known number", `[${shape.join(", ")}]`);
}

/** Every layer's attention uses the same masks: as one tensor each they are stored once. */
const masks = new Map<string, Tensor>();

/** What hides from queries from … to − 1 the keys after each, as [to − from, to]. */
function futureMask(dtype: DType, from: number, to: number): Tensor {
  const key = `${dtype} ${from} ${to}`;
  const known = masks.get(key);
  if (known !== undefined) return known;
  const data = Array.from({ length: (to - from) * to }, (_, at) => (at % to > from + Math.floor(at / to) ? unseen : 0));
  const mask = tensor(dtype, [to - from, to], data);
  masks.set(key, mask);
  return mask;
}

/** The same for all queries, of a number known only at run time. */
function futureOf(k: Value): Value {
  const places = iota(k, { axis: -2 });
  const seen = lessOrEqual(unsqueeze(places, 0), unsqueeze(places, 1));
  return where(seen, tensor(k.dtype, [], [0]), unseen);
}
