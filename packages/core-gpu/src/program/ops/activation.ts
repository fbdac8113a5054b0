import { z } from "zod";
import { tensor } from "../../tensor.ts";
import { type Attributes, float } from "../onnx-graph.ts";
import { type Emission, floats, normaliseAxis, type Operator, requireDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { mul } from "./arithmetic.ts";
import { eachElement, oneNode, unary } from "./common.ts";

const Relu = unary("relu", "Relu", floats);
const Sigmoid = unary("sigmoid", "Sigmoid", floats);
const Tanh = unary("tanh", "Tanh", floats);
const Softplus = unary("softplus", "Softplus", ["float32"]);

const LeakyRelu: Operator<{ readonly slope: number }> = {
  name: "leakyRelu",
  onnx: "LeakyRelu",
  infer: eachElement(["float32"]),
  emit: oneNode("LeakyRelu", ({ slope }): Attributes => ({ alpha: float(slope) })),
};

const Gelu: Operator<{ readonly approximate: "none" | "tanh" }> = {
  name: "gelu",
  onnx: "Gelu",
  infer: eachElement(["float32"]),
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

interface AlongAxis {
  readonly axis: number;
}

function alongAxis(name: string, onnx: string): Operator<AlongAxis> {
  return {
    name,
    onnx,
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

const Softmax = alongAxis("softmax", "Softmax");
const LogSoftmax = alongAxis("logSoftmax", "LogSoftmax");

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
