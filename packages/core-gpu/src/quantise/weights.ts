import { InputError } from "../errors.ts";
import { quoted } from "../onnx/names.ts";
import type { GraphProto, NodeProto } from "../onnx/onnx_pb.ts";
import { hostTensor } from "../program/import/weights.ts";
import type { Tensor } from "../tensor.ts";
import { intOf, titleOf } from "./graph-parts.ts";
import { quantiseBias, quantiseWeight } from "./parameters.ts";

/** The whole-number weights of a node. */
export interface NodeWeights {
  readonly shape: readonly number[];
  readonly codes: Int8Array;
  /** [channels], or [1] where one scale is for all. */
  readonly scales: Float32Array;
  /** The axis of the channels. */
  readonly axis: number;
  readonly bias?: { readonly codes: Int32Array; readonly scales: Float32Array };
}

/** How weights are rounded. */
export interface WeightOptions {
  readonly weightBits: 7 | 8;
  readonly perChannel: boolean;
  /** Means of the channels of a tensor, where biases are to be corrected with them. */
  readonly means: ReadonlyMap<string, Float64Array>;
}

/**
 * Rounds the weights and the bias of a Conv, Gemm or MatMul; undefined where the bias does not fit 32 bits at the scale of the products.
 *
 * Bias correction takes from the bias what rounding the weights adds to the mean of an output channel:
 * Σ (rounded − weight) · E[input channel]. Padding counts as if it had the channel's mean.
 *
 * Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019, section 4.2 [M].
 */
export function quantiseWeights(
  caller: string,
  graph: GraphProto,
  node: NodeProto,
  inputScale: number,
  { weightBits, perChannel, means }: WeightOptions,
): NodeWeights | undefined {
  const read = (name: string) => hostTensor(caller, graph.initializer.find((entry) => entry.name === name)!);
  const weight = read(node.input[1]!) as Tensor<"float32">;
  const strange = weight.data.find((value) => !Number.isFinite(value));
  if (strange !== undefined) {
    const actual = `${strange} in ${quoted(node.input[1]!)} of node ${quoted(titleOf(node))}`;
    throw new InputError(caller, "weights must be finite", actual);
  }
  const axis = node.opType === "Conv" || (node.opType === "Gemm" && intOf(node, "transB", 0) !== 0) ? 0 : 1;
  const count = weight.shape[axis]!;
  const inner = weight.shape.slice(axis + 1).reduce((size, dimension) => size * dimension, 1);
  const channels = { count, inner };
  const made = quantiseWeight(weight.data, perChannel ? channels : { count: 1, inner: weight.data.length }, weightBits);
  const given = (node.input[2] ?? "") === "" ? undefined : (read(node.input[2]!) as Tensor<"float32">).data;
  const mean = node.opType === "MatMul" ? undefined : means.get(node.input[0]!);
  const result = { shape: weight.shape, axis, ...made };
  if (given === undefined && mean === undefined) return result;
  const wanted = Float64Array.from(given ?? new Float32Array(count));
  if (mean !== undefined) {
    const groups = intOf(node, "group", 1);
    // Elements of a weight between two of neighbouring input channels, and input channels of a group.
    const [depth, step] = axis === 1 ? [weight.shape[0]!, count] : [weight.shape[1]!, inner / weight.shape[1]!];
    weight.data.forEach((value, index) => {
      const channel = Math.floor(index / inner) % count;
      const scale = made.scales[perChannel ? channel : 0]!;
      const from = Math.floor(channel / (count / groups)) * depth + (Math.floor(index / step) % depth);
      wanted[channel] = wanted[channel]! - (made.codes[index]! * scale - value) * mean[from]!;
    });
  }
  const bias = quantiseBias(wanted, inputScale, made.scales);
  return bias === undefined ? undefined : { ...result, bias };
}
