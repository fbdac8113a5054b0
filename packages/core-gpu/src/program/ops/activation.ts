import { z } from "zod";
import { tensor } from "../../tensor.ts";
import { type Attributes, float } from "../onnx-graph.ts";
import { type Emission, floats, normaliseAxis, type Operator, requireDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { mul } from "./arithmetic.ts";
import { eachElement, type Ops, oneNode, times, unary, unrepeated } from "./common.ts";

// By way of bool: 1 where y is not 0. The fastest of several forms, and NaN counts as positive, as in PyTorch.
const Relu = unary("relu", "Relu", floats, ({ ops, results: [y], gradients: [d] }) => [
  times(ops, d!, ops.cast(ops.cast(y!, "bool"), y!.dtype)),
]);
const Sigmoid = unary("sigmoid", "Sigmoid", floats, ({ ops, results: [y], gradients: [d] }) => [
  times(ops, d!, ops.mul(y!, ops.sub(1, y!))),
]);
const Tanh = unary("tanh", "Tanh", floats, ({ ops, results: [y], gradients: [d] }) => [
  times(ops, d!, ops.sub(1, ops.square(y!))),
]);
const Softplus = unary("softplus", "Softplus", ["float32"], ({ ops, operands: [x], gradients: [d] }) => [
  times(ops, d!, ops.sigmoid(x!)),
]);

const LeakyRelu: Operator<{ readonly slope: number }> = {
  name: "leakyRelu",
  onnx: "LeakyRelu",
  infer: eachElement(["float32"]),
  gradient({ ops, attributes: { slope }, operands: [x], gradients: [d] }) {
    const isPositive = ops.cast(ops.greater(x!, 0), x!.dtype);
    return [times(ops, d!, ops.add(ops.mul(isPositive, 1 - slope), slope))];
  },
  emit: oneNode("LeakyRelu", ({ slope }): Attributes => ({ alpha: float(slope) })),
};

const Gelu: Operator<{ readonly approximate: "none" | "tanh" }> = {
  name: "gelu",
  onnx: "Gelu",
  infer: eachElement(["float32"]),
  gradient: ({ ops, attributes: { approximate }, operands: [x], gradients: [d] }) => [
    times(ops, d!, approximate === "none" ? geluSlope(ops, x!) : geluTanhSlope(ops, x!)),
  ],
  emit({ graph, attributes: { approximate }, inputs: [x], outputs }) {
    if (graph.opset >= 20) {
      graph.node("Gelu", [x!], { approximate }, outputs);
      return;
    }
    const scalar = (value: number) => graph.constant(tensor("float32", [], [value]));
    const times = (a: string, b: number) => graph.node("Mul", [a, scalar(b)]);
    const gate =
      approximate === "none"
        ? graph.node("Erf", [times(x!, Math.SQRT1_2)])
        : graph.node("Tanh", [
            times(
              graph.node("Add", [x!, times(graph.node("Mul", [graph.node("Mul", [x!, x!]), x!]), 0.044715)]),
              Math.sqrt(2 / Math.PI),
            ),
          ]);
    graph.node("Mul", [times(x!, 0.5), graph.node("Add", [gate, scalar(1)])], {}, outputs);
  },
};

/** `Φ(x) + x · φ(x)` */
function geluSlope(ops: Ops, x: Value): Value {
  const distribution = ops.mul(ops.add(ops.erf(ops.mul(x, Math.SQRT1_2)), 1), 0.5);
  const density = ops.mul(ops.exp(ops.mul(ops.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return ops.add(distribution, ops.mul(x, density));
}

/** With `t = tanh u`, `u = √(2/π) (x + 0.044715 x³)`: `(1 + t)/2 + x/2 · (1 − t²) · du/dx`. */
function geluTanhSlope(ops: Ops, x: Value): Value {
  const square = ops.square(x);
  const factor = Math.sqrt(2 / Math.PI);
  const t = ops.tanh(ops.mul(x, ops.add(ops.mul(square, 0.044715 * factor), factor)));
  const inner = ops.mul(x, ops.add(ops.mul(square, 3 * 0.044715 * factor), factor));
  return ops.mul(ops.mul(ops.add(t, 1), 0.5), ops.add(ops.mul(ops.sub(1, t), inner), 1));
}

interface AlongAxis {
  readonly axis: number;
}

function alongAxis(name: string, onnx: string, gradient: Operator<AlongAxis>["gradient"] & {}): Operator<AlongAxis> {
  return {
    name,
    onnx,
    gradient,
    infer([x], { axis }) {
      requireDType(floats, x!);
      normaliseAxis(axis, x!.shape.length);
      return [x!];
    },
    emit: (application) => emitAlongAxis(onnx, application),
  };
}

/** Before opset 13 these operators join all axes from `axis` on, which is what we mean only if it is the last one. */
function emitAlongAxis(type: string, { graph, attributes, inputs, outputs, inputSpecs }: Emission<AlongAxis>): void {
  const rank = inputSpecs[0]!.shape.length;
  const axis = normaliseAxis(attributes.axis, rank);
  if (graph.opset >= 13 || axis === rank - 1) {
    graph.node(type, inputs, { axis }, outputs);
    return;
  }
  const perm = Array.from({ length: rank }, (_, at) => at);
  perm[axis] = rank - 1;
  perm[rank - 1] = axis;
  const last = graph.node(type, [graph.node("Transpose", inputs, { perm })], { axis: rank - 1 });
  graph.node("Transpose", [last], { perm }, outputs);
}

const Softmax = alongAxis("softmax", "Softmax", ({ ops, attributes: { axis }, results: [y], gradients: [d] }) => {
  const weighted = times(ops, d!, y!);
  const mean = ops.sum(weighted, { axes: axis, keepDimensions: true });
  return [ops.sub(weighted, ops.mul(y!, mean))];
});
const LogSoftmax = alongAxis(
  "logSoftmax",
  "LogSoftmax",
  ({ ops, attributes: { axis }, results: [y], gradients: [d] }) => {
    const total = ops.sum(d!, { axes: axis, keepDimensions: true });
    return [ops.sub(unrepeated(d!, y!), times(ops, total, ops.exp(y!)))];
  },
);

export const operators = [Relu, Sigmoid, Tanh, Softplus, LeakyRelu, Gelu, Softmax, LogSoftmax] as readonly Operator[];

/** `max(x, 0)`; float32 or float64. ONNX Relu. */
export function relu(x: Operand): Value {
  return applyOne(Relu, [x], {});
}

const leakyReluOptions = z.strictObject({ slope: z.number().default(0.01) });

/** `x` where x ≥ 0, else `slope · x` (default slope 0.01); float32. ONNX LeakyRelu. */
export function leakyRelu(x: Operand, options?: { readonly slope?: number }): Value {
  return applyOne(LeakyRelu, [x], operatorOptions("leakyRelu", leakyReluOptions, options));
}

/** `1 ÷ (1 + e^−x)`; float32 or float64. ONNX Sigmoid. */
export function sigmoid(x: Operand): Value {
  return applyOne(Sigmoid, [x], {});
}

/** Hyperbolic tangent; float32 or float64. ONNX Tanh. */
export function tanh(x: Operand): Value {
  return applyOne(Tanh, [x], {});
}

/** `ln(1 + e^x)`; float32. ONNX Softplus. */
export function softplus(x: Operand): Value {
  return applyOne(Softplus, [x], {});
}

/** `x · sigmoid(x)`, also called swish; float32 or float64. ONNX Sigmoid and Mul. */
export function silu(x: Operand): Value {
  return mul(x, sigmoid(x));
}

const geluOptions = z.strictObject({ approximate: z.enum(["none", "tanh"]).default("none") });

/**
 * `x · Φ(x)`, Φ the normal distribution function; float32. ONNX Gelu (Erf or Tanh and arithmetic before opset 20).
 *
 * @param options.approximate `"tanh"` for `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`. Default `"none"`.
 */
export function gelu(x: Operand, options?: { readonly approximate?: "none" | "tanh" }): Value {
  return applyOne(Gelu, [x], operatorOptions("gelu", geluOptions, options));
}

const axisOptions = z.strictObject({ axis: z.int().default(-1) });

/** `e^xᵢ ÷ Σⱼ e^xⱼ` along an axis (default the last); float32 or float64. ONNX Softmax. */
export function softmax(x: Operand, options?: { readonly axis?: number }): Value {
  return applyOne(Softmax, [x], operatorOptions("softmax", axisOptions, options));
}

/** `xᵢ − ln Σⱼ e^xⱼ` along an axis (default the last); float32 or float64. ONNX LogSoftmax. */
export function logSoftmax(x: Operand, options?: { readonly axis?: number }): Value {
  return applyOne(LogSoftmax, [x], operatorOptions("logSoftmax", axisOptions, options));
}
