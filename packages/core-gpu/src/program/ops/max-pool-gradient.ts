import { z } from "zod";
import { InputError } from "../../errors.ts";
import { tensor } from "../../tensor.ts";
import { printShape, type Shape, sameShape } from "../dimensions.ts";
import { type Emission, floats, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { inferPool, kernelOption, type PoolAttributes, type PoolOptions } from "./pool-shape.ts";
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
    const [pooled, indices] = [graph.fresh(`${inputs[0]}/MaxPool`), graph.fresh(`${inputs[0]}/MaxPool/indices`)];
    graph.node("MaxPool", [inputs[0]!], { kernel_shape: kernel, ...windowAttributes(window) }, [pooled, indices]);
    const apart = kernel.every((size, axis) => window.dilation[axis]! === 1 && size <= window.stride[axis]!);
    if (apart || graph.opset >= 16) emitScatter(application, indices, apart);
    else emitCompared(application, indices, kernel, window);
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
 * Before opset 16 nothing scatters sums. Then each element of the window is a channel that holds the gradient where the
 * maximum is that element, and a transposed convolution with one-hot weights lays the channels down.
 */
function emitCompared(
  { graph, inputs, outputs, inputSpecs }: Emission<PoolAttributes>,
  indices: string,
  kernel: readonly number[],
  window: Window,
): void {
  const [{ shape, dtype }, { shape: small }] = inputSpecs as [{ shape: Shape; dtype: string }, { shape: Shape }];
  const sizes = shape.slice(2);
  if (dtype !== "float32" || !sizes.every((size) => typeof size === "number")) {
    const actual = `${dtype} ${printShape(shape)} at opset ${graph.opset}`;
    const expectation = "overlapping windows need opset 16, or float32 and known spatial sizes";
    throw new InputError("core-gpu.programToModel", expectation, `maxPoolGradient of ${actual}`, "Raise the opset.");
  }
  const counts = small.slice(2) as readonly number[];
  const elements = kernel.reduce((product, size) => product * size, 1);
  const at = graph.node("Mod", [indices, graph.ints([sizes.reduce((product, size) => product * size, 1)])]);
  const channel = (value: string) => graph.node("Reshape", [value, graph.ints([-1, 1, ...counts])]);
  const chosen = graph.node("Equal", [channel(at), graph.constant(positions(sizes, counts, kernel, window))]);
  const zero = graph.constant(tensor("float32", [], [0]));
  const spreadOut = graph.node("Where", [chosen, channel(inputs[1]!), zero]);
  const oneHot = tensor("float32", [elements, 1, ...kernel]);
  for (let element = 0; element < elements; element++) oneHot.data[element * elements + element] = 1;
  const behind = kernel.map((size, axis) => {
    const reach = window.dilation[axis]! * (size - 1) + 1;
    return (
      sizes[axis]! - (counts[axis]! - 1) * window.stride[axis]! - reach + window.before[axis]! + window.after[axis]!
    );
  });
  const attributes = { kernel_shape: kernel, ...windowAttributes(window), output_padding: behind };
  const laid = graph.node("ConvTranspose", [spreadOut, graph.constant(oneHot)], attributes);
  graph.node("Reshape", [laid, graph.node("Shape", [inputs[0]!])], {}, outputs);
}

/** Index in the image of each element of each window, [1, elements, ...windows]; −1 in the padding. */
function positions(
  sizes: readonly number[],
  counts: readonly number[],
  kernel: readonly number[],
  { stride, dilation, before }: Window,
) {
  const elements = kernelPositions(kernel);
  const indices = elements.flatMap((offset) =>
    kernelPositions(counts).map((at) =>
      sizes.reduce((index, size, axis) => {
        const place = at[axis]! * stride[axis]! + offset[axis]! * dilation[axis]! - before[axis]!;
        return index < 0 || place < 0 || place >= size ? -1 : index * size + place;
      }, 0),
    ),
  );
  return tensor("int64", [1, elements.length, ...counts], indices);
}

export const operators = [MaxPoolGradient] as readonly Operator[];

const options = z.strictObject({ ...kernelOption, ...windowOptions });

/**
 * Gradient of `maxPool` with respect to its operand: each gradient [n, c, (h',) w'] goes to the place of its window's
 * maximum, the first of equals; x [n, c, (h,) w] → x's shape. float32 or float64. ONNX MaxPool's indices and
 * ScatterElements; where windows overlap, before opset 16, comparisons and ConvTranspose.
 */
export function maxPoolGradient(
  x: Operand,
  gradient: Operand,
  given: PoolOptions & { readonly dilation?: PerAxis },
): Value {
  const { kernel, stride = kernel, padding, dilation } = operatorOptions("maxPoolGradient", options, given);
  return applyOne(MaxPoolGradient, [x, gradient], { kernel, stride, padding, dilation });
}
