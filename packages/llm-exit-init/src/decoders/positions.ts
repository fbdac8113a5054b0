import { ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";

/** Cosines and sines of the angles of every position, `[t, r/2]` each. */
export interface Angles {
  readonly cos: Value | Tensor;
  readonly sin: Value | Tensor;
}

/**
 * The angles of tokens 0 … t − 1: position · frequency. A padding mask changes nothing: only distances between positions
 * matter, and those of tokens are the same.
 */
export function anglesOf(frequencies: readonly number[], tokens: Value, context: number): Angles {
  const t = tokens.shape[1]!;
  const count = typeof t === "number" ? t : context;
  const { length } = frequencies;
  const table = (of: (angle: number) => number): Tensor =>
    tensor(
      "float32",
      [count, length],
      Float32Array.from({ length: count * length }, (_, at) => of(Math.floor(at / length) * frequencies[at % length]!)),
    );
  const [cos, sin] = [table(Math.cos), table(Math.sin)];
  if (typeof t === "number") return { cos, sin };
  const places = ops.iota(tokens, { axis: 1 });
  return { cos: ops.gather(cos, places), sin: ops.gather(sin, places) };
}

/**
 * The first r features of each head turned by their token's angle, r being twice the number of angles: x [n, heads, t, h].
 * Features from r on stay as they are.
 */
export function turned(x: Value, { cos, sin }: Angles, layout: "half" | "pairs"): Value {
  const r = 2 * (cos.shape[1] as number);
  const h = x.shape[3] as number;
  if (r === h) return ops.rotaryEmbedding(x, cos, sin, { layout });
  const [turning, still] = ops.split(x, [r, h - r], 3) as [Value, Value];
  return ops.concat([ops.rotaryEmbedding(turning, cos, sin, { layout }), still], 3);
}

/**
 * The rows of a learned table for tokens [n, t]. Without a mask position i has row i + offset. With one, positions count the
 * tokens: `Σ mask up to and with i − 1`; padding before the first token has −1 where the offset gives that a row (OPT: mask
 * 0 0 1 1 1 → rows 1 1 2 3 4), else 0.
 */
export function learnedPositions(table: Value, tokens: Value, mask: Value | undefined, offset: number): Value {
  const t = tokens.shape[1]!;
  if (mask === undefined) {
    if (typeof t === "number") return ops.slice(table, { axis: 0, from: offset, to: offset + t });
    const places = ops.iota(tokens, { axis: 1 });
    return ops.gather(table, offset === 0 ? places : ops.add(places, offset));
  }
  const counted = ops.sub(ops.mul(ops.cumSum(mask, { axis: 1 }), mask), 1);
  const rows = ops.add(offset === 0 ? ops.maximum(counted, 0) : counted, offset);
  return ops.gather(table, rows);
}

/** Whether query i may see key j, bool [n, 1, t, t] (without the order of time): j is a token, or i itself. */
export function seenOf(mask: Value): Value {
  const places = ops.iota(mask, { axis: 1 });
  const self = ops.equal(ops.unsqueeze(places, 0), ops.unsqueeze(places, 1));
  const token = ops.greater(mask, 0);
  return ops.or(ops.unsqueeze(token, [1, 2]), self);
}
