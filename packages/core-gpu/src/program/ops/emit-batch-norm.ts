import { tensor } from "../../tensor.ts";
import { float, type OnnxGraph } from "../onnx-graph.ts";
import type { Emission } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { allButChannels } from "./conv-shape.ts";
import { emitReduction } from "./reduce.ts";

interface Epsilon {
  readonly epsilon: number;
}

/**
 * Writes mean and variance of each channel and ONNX's BatchNormalization by them, which is one pass. The variance is that of
 * x − mean, a pass more than the mean of squares takes: that one loses all digits where the mean is far from 0.
 */
export function emitBatchNormTraining({ graph, attributes, inputs, outputs, inputSpecs }: Emission<Epsilon>): void {
  const [x, scale, bias] = inputs as [string, string, string];
  const [y, mean, variance] = outputs as [string, string, string];
  const epsilon = float(attributes.epsilon);
  // Its training mode is all of this in one node, but only ONNX Runtime's CPU kernels are known to have it.
  if (graph.blocks !== undefined && graph.opset >= 14 && inputSpecs[0]!.dtype === "float32") {
    const training = { epsilon, momentum: float(0), training_mode: 1 };
    // The running statistics do not count with momentum 0, but the node writes its own over them: no one else's.
    const zeros = graph.node("Sub", [bias, bias]);
    const running = [zeros, graph.node("Exp", [zeros])];
    graph.node("BatchNormalization", [x, scale, bias, ...running], training, [y, mean, variance]);
    return;
  }
  const channels = channelwise(graph, inputSpecs[0]!);
  const wide = channels.mean(x, true);
  const centred = graph.node("Sub", [x, wide]);
  channels.narrow(wide, mean);
  channels.mean(graph.node("Mul", [centred, centred]), false, [variance]);
  graph.node("BatchNormalization", [x, scale, bias, mean, variance], { epsilon }, [y]);
}

/**
 * Writes dx = scale ÷ √(variance + ε) · (d − (dBias + n̂ · dScale) ÷ m): what is subtracted is a BatchNormalization of x
 * again, by −dScale ÷ m and −dBias ÷ m, in one pass.
 */
export function emitBatchNormGradient({ graph, attributes, inputs, outputs, inputSpecs }: Emission<Epsilon>): void {
  const [x, gradient, scale, mean, variance] = inputs as [string, string, string, string, string];
  const [dx, dScale, dBias] = outputs as [string, string, string];
  const channels = channelwise(graph, inputSpecs[0]!);
  const binary = (type: string) => (a: string, b: string) => graph.node(type, [a, b]);
  const [mul, sub, div] = [binary("Mul"), binary("Sub"), binary("Div")];
  const deviation = graph.node("Sqrt", [graph.node("Add", [variance, channels.scalar(attributes.epsilon)])]);
  channels.sum(gradient, [dBias]);
  const product = channels.sum(mul(gradient, x));
  graph.node("Div", [sub(product, mul(mean, dBias)), deviation], {}, [dScale]);
  const count = graph.node("Neg", [channels.count(x)]);
  const correction = [x, div(dScale, count), div(dBias, count), mean, variance];
  const corrected = graph.node("BatchNormalization", correction, { epsilon: float(attributes.epsilon) });
  const sum = graph.node("Add", [gradient, corrected]);
  graph.node("Mul", [sum, channels.widen(div(scale, deviation))], {}, [dx]);
}

/** Numbers for each channel, wide [1, c, 1, ...] so that they broadcast, or narrow [c]. */
function channelwise(graph: OnnxGraph, { dtype, shape }: Spec) {
  const axes = allButChannels(shape.length);
  const spatial = shape.slice(2).map(() => 1);
  const scalar = (value: number) => graph.constant(tensor(dtype, [], [value]));
  return {
    scalar,
    sum: (value: string, outputs?: readonly string[]) => emitReduction(graph, "ReduceSum", value, axes, false, outputs),
    mean: (value: string, keep: boolean, outputs?: readonly string[]) =>
      emitReduction(graph, "ReduceMean", value, axes, keep, outputs),
    widen: (value: string) => graph.node("Reshape", [value, graph.ints([1, -1, ...spatial])]),
    narrow: (value: string, output: string) => graph.node("Reshape", [value, graph.ints([-1])], {}, [output]),
    /** Elements of a channel. */
    count(x: string): string {
      const sizes = axes.map((axis) => shape[axis]!);
      if (sizes.every((size) => typeof size === "number")) return scalar(sizes.reduce((all, size) => all * size, 1));
      const chosen = graph.node("Gather", [graph.node("Shape", [x]), graph.ints(axes)], { axis: 0 });
      const product = graph.node("ReduceProd", [chosen], { keepdims: 0 });
      return graph.node("Cast", [product], { to: dtype === "float32" ? 1 : 11 });
    },
  };
}
