import { InputError, type Model, onnx, type Tensor } from "@exitkit/core-gpu";
import type { Dependencies } from "./propagate.ts";

/** For each initializer of rank ≥ 2, by its name, one score an element; see `criteria`. */
export type WeightScores = Readonly<Record<string, Float32Array>>;

/**
 * How much each class of channels matters: `√(Σ s ÷ m)` over the m elements that go with it in the weights of convolutions and
 * linear layers, those that make its channels and those that read them; s = w² without scores.
 *
 * Source: group norms over dependency groups after G. Fang et al., "DepGraph", 2023 [D].
 */
export function importanceOf(
  caller: string,
  model: Model,
  { labels, cuts }: Dependencies,
  scores: WeightScores | undefined,
): ReadonlyMap<number, number> {
  const sums = new Map<number, { sum: number; count: number }>();
  for (const weight of model.proto.graph!.initializer) {
    const axes = cuts.get(weight.name);
    if (axes === undefined || weight.dims.length < 2) continue;
    const held = onnx.hostTensor(caller, weight);
    const elements = scoresOf(caller, weight.name, held, scores);
    for (const [axis, along] of axes) {
      const stride = held.shape.slice(axis + 1).reduce((size, side) => size * side, 1);
      elements.forEach((score, at) => {
        const one = labels.classOf(along[Math.floor(at / stride) % along.length]!);
        const own = sums.get(one) ?? { sum: 0, count: 0 };
        sums.set(one, { sum: own.sum + score, count: own.count + 1 });
      });
    }
  }
  return new Map([...sums].map(([one, { sum, count }]) => [one, Math.sqrt(sum / count)]));
}

function scoresOf(caller: string, name: string, held: Tensor, scores: WeightScores | undefined): Float32Array {
  if (held.dtype !== "float32") {
    throw new InputError(caller, `weight ${onnx.quoted(name)} must be float32`, held.dtype, "Prune before quantising.");
  }
  const bad = held.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new InputError(caller, `weight ${onnx.quoted(name)} must be finite`, `${held.data[bad]} at ${bad}`);
  const given = scores?.[name];
  if (given === undefined) return held.data.map((value) => value * value);
  if (given.length === held.data.length && !given.some(Number.isNaN)) return given;
  const actual = given.length === held.data.length ? "NaN among them" : `${given.length}`;
  throw new InputError(caller, `scores of ${onnx.quoted(name)} must be ${held.data.length} numbers`, actual);
}
