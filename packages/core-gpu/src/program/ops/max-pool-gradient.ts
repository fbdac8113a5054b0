import { z } from "zod";
import { InputError } from "../../errors.ts";
import { tensor } from "../../tensor.ts";
import { printShape, sameShape } from "../dimensions.ts";
import { type Emission, floats, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { emitLaidDown } from "./emit-conv-transpose.ts";
import { padSpatial, shift } from "./emit-window.ts";
import { inferPool, kernelOption, type PoolAttributes, type PoolOptions } from "./pool-shape.ts";
import { emitReduction } from "./reduce.ts";
import {
  kernelPositions,
  makeWindow,
  type PerAxis,
  spread,
  type Window,
  windowAttributes,
  windowOptions,
} from "./window.ts";

const MaxPoolGradient: Operator<PoolAttributes> = {
  name: "maxPoolGradient",
  onnx: "MaxPool",
  infer([x, gradient], attributes) {
    requireDType(floats, x!, gradient!);
    requireSameDType(x!, gradient!);
    const [{ shape }] = inferPool(x!, attributes);
    if (!sameShape(gradient!.shape, shape))
      refuse(`the gradient must have the pooled shape ${printShape(shape)}`, printShape(gradient!.shape));
    return [x!];
  },
  emit(application) {
    const { graph, attributes, inputs, inputSpecs } = application;
    const count = inputSpecs[0]!.shape.length - 2;
    const kernel = spread("kernel", attributes.kernel, count, 1);
    const window = makeWindow(count, attributes);
    const apart = kernel.every((size, axis) => window.dilation[axis]! === 1 && size <= window.stride[axis]!);
    const { dtype } = inputSpecs[0]!;
    // ONNX Runtime's WebGPU provider has no indices of maxima, and before opset 16 nothing scatters sums.
    if (dtype === "float32" && (graph.provider === "webgpu" || (!apart && graph.opset < 16))) {
      emitCompared(application, kernel, window);
      return;
    }
    if (!apart && graph.opset < 16) {
      const expectation = "overlapping windows need opset 16, or float32";
      const actual = `maxPoolGradient of ${dtype} at opset ${graph.opset}`;
      throw new InputError("core-gpu.programToModel", expectation, actual, "Raise the opset.");
    }
    const [pooled, indices] = [graph.fresh(`${inputs[0]}/MaxPool`), graph.fresh(`${inputs[0]}/MaxPool/indices`)];
    graph.node("MaxPool", [inputs[0]!], { kernel_shape: kernel, ...windowAttributes(window) }, [pooled, indices]);
    emitScatter(application, indices, apart);
  },
};

/** Each gradient goes to the place of the maximum, an index into the whole of x; windows that overlap need sums. */
function emitScatter({ graph, inputs, outputs, inputSpecs }: Emission, indices: string, apart: boolean): void {
  const [x, gradient] = inputs as [string, string];
  const flat = graph.ints([-1]);
  const shape = graph.node("Shape", [x]);
  const size = graph.node("ReduceProd", [shape], { keepdims: 1 });
  const zero = tensor(inputSpecs[0]!.dtype, [1], [0]);
  const zeros = graph.node("Expand", [graph.constant(zero), size]);
  const places = [zeros, graph.node("Reshape", [indices, flat]), graph.node("Reshape", [gradient, flat])];
  const filled = graph.node("ScatterElements", places, { axis: 0, reduction: apart ? undefined : "add" });
  graph.node("Reshape", [filled, shape], {}, outputs);
}

/**
 * Without indices each element of the window is a channel. The first channel that equals the maximum keeps the gradient, and
 * a transposed convolution with one-hot weights lays the channels down. All in float32, which graphics cards compute with.
 */
function emitCompared(
  { graph, inputs, outputs, inputSpecs }: Emission<PoolAttributes>,
  kernel: readonly number[],
  window: Window,
): void {
  const [{ shape }, { shape: small }] = inputSpecs as [Spec, Spec];
  const alone = (value: string) => graph.node("Reshape", [value, graph.ints([-1, 1, ...kernel.map(() => 0)])]);
  const padded = padSpatial(graph, alone(inputs[0]!), window, lowest);
  const gradient = {
    name: alone(inputs[1]!),
    spec: { dtype: "float32", shape: ["images", 1, ...small.slice(2)] },
  } as const;
  const seen = kernelPositions(kernel).map((offset) => shift(graph, padded, offset, window, gradient));
  const count = seen.length;
  const channels = graph.node("Concat", seen, { axis: 1 });
  const greatest = (value: string) => emitReduction(graph, "ReduceMax", value, [1], true);
  const equal = graph.node("Equal", [channels, greatest(channels)]);
  // Numbers that fall from channel to channel: the greatest of those that count is the first's.
  const falling = Array.from({ length: count }, (_, at) => count - at);
  const ranks = graph.constant(tensor("float32", [1, count, ...kernel.map(() => 1)], falling));
  const zero = graph.constant(tensor("float32", [], [0]));
  const first = graph.node("Equal", [ranks, greatest(graph.node("Where", [equal, ranks, zero]))]);
  const spreadOut = graph.node("Where", [first, gradient.name, zero]);
  const oneHot = tensor("float32", [count, 1, ...kernel]);
  for (let element = 0; element < count; element++) oneHot.data[element * count + element] = 1;
  const from = { name: spreadOut, spec: gradient.spec };
  const convolution = { weight: graph.constant(oneHot), shape: oneHot.shape, groups: 1, window };
  const laid = emitLaidDown(graph, from, convolution, shape.slice(2));
  graph.node("Reshape", [laid, graph.node("Shape", [inputs[0]!])], {}, outputs);
}

/** The padding is no maximum: a window of nothing but this number or −∞ that reaches the padding loses its gradient. */
const lowest = -3.4028234663852886e38;

export const operators = [MaxPoolGradient] as readonly Operator[];

const options = z.strictObject({ ...kernelOption, ...windowOptions });

/**
 * Gradient of `maxPool` with respect to its operand: each gradient [n, c, (h',) w'] goes to the place of its window's
 * maximum, the first of equals; x [n, c, (h,) w] → x's shape. float32 or float64. ONNX MaxPool's indices and
 * ScatterElements; on WebGPU, and where windows overlap before opset 16, comparisons and ConvTranspose.
 */
export function maxPoolGradient(
  x: Operand,
  gradient: Operand,
  given: PoolOptions & { readonly dilation?: PerAxis },
): Value {
  const { kernel, stride = kernel, padding, dilation } = operatorOptions("maxPoolGradient", options, given);
  return applyOne(MaxPoolGradient, [x, gradient], { kernel, stride, padding, dilation });
}
