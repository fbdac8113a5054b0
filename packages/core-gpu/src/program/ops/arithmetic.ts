import { z } from "zod";
import { type DType, tensor } from "../../tensor.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import { floats, numbers, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { binary, broadcast, eachElement, eachPair, sumTo, unary } from "./common.ts";

const Add = binary("add", "Add", numbers, ({ ops, operands: [a, b], gradients: [d] }) => [
  sumTo(ops, d!, a!),
  sumTo(ops, d!, b!),
]);
const Sub = binary("sub", "Sub", numbers, ({ ops, operands: [a, b], gradients: [d], needed }) => [
  sumTo(ops, d!, a!),
  needed[1] ? ops.neg(sumTo(ops, d!, b!)) : null,
]);
const Mul = binary("mul", "Mul", numbers, ({ ops, operands: [a, b], gradients: [d], needed }) => [
  needed[0] ? sumTo(ops, ops.mul(d!, b!), a!) : null,
  needed[1] ? sumTo(ops, ops.mul(d!, a!), b!) : null,
]);
const Div = binary("div", "Div", numbers, ({ ops, operands: [a, b], results: [y], gradients: [d], needed }) => [
  needed[0] ? sumTo(ops, ops.div(d!, b!), a!) : null,
  needed[1] ? ops.neg(sumTo(ops, ops.div(ops.mul(d!, y!), b!), b!)) : null,
]);
const Minimum = extremum("minimum", "Min");
const Maximum = extremum("maximum", "Max");
const Neg = unary("neg", "Neg", numbers, ({ ops, gradients: [d] }) => [ops.neg(d!)]);
const Abs = unary("abs", "Abs", numbers);
const Exp = unary("exp", "Exp", floats);
const Log = unary("log", "Log", floats);
const Sqrt = unary("sqrt", "Sqrt", floats);
const Floor = unary("floor", "Floor", floats);
const Ceil = unary("ceil", "Ceil", floats);
const Round = unary("round", "Round", floats);
const Erf = unary("erf", "Erf", ["float32"]);

function extremum(name: string, onnx: "Min" | "Max"): Operator {
  return {
    name,
    onnx,
    infer: eachPair(numbers),
    emit: ({ graph, inputs: [a, b], outputs, inputSpecs }) =>
      void emitExtremum(graph, onnx, a!, b!, inputSpecs[0]!.dtype, outputs),
  };
}

/** Before opset 12 Min and Max take floats only. */
function emitExtremum(
  graph: OnnxGraph,
  type: "Min" | "Max",
  a: string,
  b: string,
  dtype: DType,
  outputs?: readonly string[],
): string {
  if (graph.opset >= 12 || floats.includes(dtype)) return graph.node(type, [a, b], {}, outputs);
  const first = graph.node(type === "Min" ? "Less" : "Greater", [a, b]);
  return graph.node("Where", [first, a, b], {}, outputs);
}

const Pow: Operator = {
  name: "pow",
  onnx: "Pow",
  infer([base, exponent]) {
    requireDType(floats, base!, exponent!);
    requireSameDType(base!, exponent!);
    return [{ dtype: base!.dtype, shape: broadcast(base!.shape, exponent!.shape) }];
  },
  emit: ({ graph, inputs, outputs }) => void graph.node("Pow", inputs, {}, outputs),
};

interface Limits {
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
}

const Clip: Operator<Limits> = {
  name: "clip",
  onnx: "Clip",
  infer(operands, { minimum, maximum }) {
    if (minimum !== undefined && maximum !== undefined && minimum > maximum) {
      refuse("minimum must not be above maximum", `${minimum} and ${maximum}`);
    }
    const whole = [minimum, maximum].every((limit) => limit === undefined || Number.isSafeInteger(limit));
    if (operands[0]!.dtype.startsWith("int") && !whole) {
      refuse("limits of whole numbers must be whole", `${minimum} and ${maximum}`);
    }
    return eachElement(numbers)(operands);
  },
  emit({ graph, attributes: { minimum, maximum }, inputs: [x], outputs, inputSpecs }) {
    const { dtype } = inputSpecs[0]!;
    const limit = (value: number | undefined) =>
      value === undefined ? "" : graph.constant(tensor(dtype, [], [value]));
    const [low, high] = [limit(minimum), limit(maximum)];
    if (low === "" && high === "") graph.node("Identity", [x!], {}, outputs);
    else if (graph.opset >= 12 || dtype === "float32") graph.node("Clip", [x!, low, high], {}, outputs);
    else if (high === "") emitExtremum(graph, "Max", x!, low, dtype, outputs);
    else emitExtremum(graph, "Min", low === "" ? x! : emitExtremum(graph, "Max", x!, low, dtype), high, dtype, outputs);
  },
};

export const operators = [
  Add,
  Sub,
  Mul,
  Div,
  Minimum,
  Maximum,
  Neg,
  Abs,
  Exp,
  Log,
  Sqrt,
  Floor,
  Ceil,
  Round,
  Erf,
  Pow,
  Clip,
] as readonly Operator[];

/** Sum of two operands, element by element, broadcasting: `a + b`. ONNX Add. */
export function add(a: Operand, b: Operand): Value {
  return applyOne(Add, [a, b], {});
}

/** Difference, element by element, broadcasting: `a − b`. ONNX Sub. */
export function sub(a: Operand, b: Operand): Value {
  return applyOne(Sub, [a, b], {});
}

/** Product, element by element, broadcasting: `a · b`. ONNX Mul. */
export function mul(a: Operand, b: Operand): Value {
  return applyOne(Mul, [a, b], {});
}

/** Quotient, element by element, broadcasting: `a ÷ b`; of whole numbers truncated towards 0. ONNX Div. */
export function div(a: Operand, b: Operand): Value {
  return applyOne(Div, [a, b], {});
}

/** The smaller of two operands, element by element, broadcasting. ONNX Min. */
export function minimum(a: Operand, b: Operand): Value {
  return applyOne(Minimum, [a, b], {});
}

/** The larger of two operands, element by element, broadcasting. ONNX Max. */
export function maximum(a: Operand, b: Operand): Value {
  return applyOne(Maximum, [a, b], {});
}

/** `base ^ exponent`, element by element, broadcasting; both float32 or both float64. ONNX Pow. */
export function pow(base: Operand, exponent: Operand): Value {
  return applyOne(Pow, [base, exponent], {});
}

/** `x · x`, element by element. ONNX Mul. */
export function square(x: Operand): Value {
  return mul(x, x);
}

/** `−x`. ONNX Neg. */
export function neg(x: Operand): Value {
  return applyOne(Neg, [x], {});
}

/** `|x|`. ONNX Abs. */
export function abs(x: Operand): Value {
  return applyOne(Abs, [x], {});
}

/** `e ^ x`; float32 or float64. ONNX Exp. */
export function exp(x: Operand): Value {
  return applyOne(Exp, [x], {});
}

/** Natural logarithm; −∞ at 0, NaN below; float32 or float64. ONNX Log. */
export function log(x: Operand): Value {
  return applyOne(Log, [x], {});
}

/** Square root; NaN below 0; float32 or float64. ONNX Sqrt. */
export function sqrt(x: Operand): Value {
  return applyOne(Sqrt, [x], {});
}

/** The next whole number below or at `x`; float32 or float64. ONNX Floor. */
export function floor(x: Operand): Value {
  return applyOne(Floor, [x], {});
}

/** The next whole number above or at `x`; float32 or float64. ONNX Ceil. */
export function ceil(x: Operand): Value {
  return applyOne(Ceil, [x], {});
}

/** The nearest whole number, halves to the even one; float32 or float64. ONNX Round. */
export function round(x: Operand): Value {
  return applyOne(Round, [x], {});
}

/** Gauss error function `2/√π ∫₀ˣ e^(−t²) dt`; float32. ONNX Erf. */
export function erf(x: Operand): Value {
  return applyOne(Erf, [x], {});
}

const clipOptions = z.strictObject({ minimum: z.number().optional(), maximum: z.number().optional() });

/** `min(max(x, minimum), maximum)`; a limit left out does not limit. ONNX Clip. */
export function clip(x: Operand, options: { readonly minimum?: number; readonly maximum?: number }): Value {
  const { minimum, maximum } = operatorOptions("clip", clipOptions, options);
  return applyOne(Clip, [x], { minimum, maximum });
}
