import type { OnnxGraph } from "../onnx-graph.ts";
import { type Window, windowAttributes } from "./window.ts";

/** A convolution in the graph: names of tensors, and the weight's shape [out, c ÷ groups, ...kernel]. */
interface Convolution {
  readonly x: string;
  readonly weight: string;
  readonly bias?: string | undefined;
  readonly shape: readonly number[];
  readonly groups: number;
  readonly window: Window;
  /** Whether the weight is known when the model is loaded. */
  readonly constant: boolean;
}

const blocked = "com.microsoft.nchwc";

/**
 * Writes a convolution: ONNX Conv, or, in a model for one CPU, ONNX Runtime's own on blocks of channels. The runtime would
 * chooses those by itself where weights are constants, which in training they are not; on one core they take 0.6 of the time.
 */
export function emitConv(graph: OnnxGraph, convolution: Convolution, outputs: readonly string[]): void {
  const { x, weight, bias, shape, groups, window } = convolution;
  const [out, perGroup, ...kernel] = shape as [number, number, ...number[]];
  const attributes = { kernel_shape: kernel, group: groups, ...windowAttributes(window) };
  const more = bias === undefined ? [] : [bias];
  const filter = fits(graph.blocks, convolution) ? filterPermutation(graph.blocks!, out, perGroup) : undefined;
  if (filter === undefined) {
    graph.node("Conv", [x, weight, ...more], attributes, outputs);
    return;
  }
  const split = graph.node("Reshape", [weight, graph.ints([...filter.sizes, ...kernel])]);
  const turned = graph.node("Transpose", [split], { perm: filter.perm });
  const operands = [
    graph.node("ReorderInput", [x], {}, undefined, blocked),
    graph.node("Reshape", [turned, graph.ints(shape)]),
    ...more,
  ];
  const result = graph.node("Conv", operands, attributes, undefined, blocked);
  graph.node("ReorderOutput", [result], { channels: out }, outputs, blocked);
}

/** Whole blocks of channels, in images, and a kernel large enough to be worth the change of layout. */
function fits(block: number | undefined, { shape, groups, constant }: Convolution): boolean {
  const [out, perGroup, ...kernel] = shape as [number, number, ...number[]];
  const depthwise = perGroup === 1 && groups === out;
  return (
    block !== undefined &&
    !constant &&
    kernel.length === 2 &&
    kernel.some((size) => size > 1) &&
    out % block === 0 &&
    (depthwise || (groups === 1 && perGroup % block === 0))
  );
}

/** How the weight's channels are split and ordered there: [out, c, h, w] → [out ÷ b, c ÷ b, h, w, b of c, b of out]. */
function filterPermutation(block: number, out: number, perGroup: number) {
  return perGroup === 1
    ? { sizes: [out / block, block, 1], perm: [0, 2, 3, 4, 1] }
    : { sizes: [out / block, block, perGroup / block, block], perm: [0, 2, 4, 5, 3, 1] };
}

/** Whether a tensor's data stand in the model. */
export function isConstant(graph: OnnxGraph, name: string): boolean {
  return graph.initializers.some((initializer) => initializer.name === name);
}
