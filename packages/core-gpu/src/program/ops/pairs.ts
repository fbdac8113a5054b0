import type { DType } from "../../tensor.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import { floats, numbers, type Operator } from "../operator.ts";
import { applyOne, type Operand, type Value } from "../value.ts";
import { binary, constantScalar, eachPair, type Ops, over, scale, sumTo, times, unary, unlessZero } from "./common.ts";

const Add = binary("add", "Add", numbers, ({ ops, operands: [a, b], gradients: [d] }) => [
  sumTo(ops, d!, a!),
  sumTo(ops, d!, b!),
]);
const Sub = binary("sub", "Sub", numbers, ({ ops, operands: [a, b], gradients: [d], needed }) => [
  sumTo(ops, d!, a!),
  needed[1] ? scale(ops, sumTo(ops, d!, b!), -1) : null,
]);
const Mul = binary("mul", "Mul", numbers, ({ ops, operands: [a, b], gradients: [d], needed }) => {
  if (a === b) return [times(ops, scale(ops, d!, 2), a!)];
  return [needed[0] ? sumTo(ops, times(ops, d!, b!), a!) : null, needed[1] ? sumTo(ops, times(ops, d!, a!), b!) : null];
});
const Div = binary("div", "Div", numbers, ({ ops, operands: [a, b], results: [y], gradients: [d], needed }) => [
  needed[0] ? sumTo(ops, divided(ops, d!, d!, b!), a!) : null,
  needed[1] ? scale(ops, sumTo(ops, divided(ops, d!, times(ops, d!, y!), b!), b!), -1) : null,
]);
/** `dividend ÷ divisor`, and 0 where what arrives is 0, unless the divisor is a number that is not 0. */
function divided(ops: Ops, d: Value, dividend: Value, divisor: Value): Value {
  const quotient = over(ops, dividend, divisor);
  return (constantScalar(divisor) ?? 0) === 0 ? unlessZero(ops, d, quotient) : quotient;
}

const Neg = unary("neg", "Neg", numbers, ({ ops, gradients: [d] }) => [scale(ops, d!, -1)]);
const Abs = unary("abs", "Abs", numbers, ({ ops, operands: [x], gradients: [d] }) => [times(ops, d!, ops.sign(x!))]);
const Sign = unary("sign", "Sign", numbers, "zero");
const Minimum = extremum("minimum", "Min");
const Maximum = extremum("maximum", "Max");

function extremum(name: string, onnx: "Min" | "Max"): Operator {
  return {
    name,
    onnx,
    infer: eachPair(numbers),
    // As PyTorch: equals get a half each.
    gradient({ ops, operands, results: [y], gradients: [d], needed }) {
      const chosen = operands.map((operand) => ops.cast(ops.equal(operand, y!), y!.dtype));
      // Neither is the result where one is NaN: then 0 ÷ 0 says so.
      const share = over(ops, d!, ops.add(chosen[0]!, chosen[1]!));
      return operands.map((operand, index) =>
        needed[index] ? sumTo(ops, times(ops, share, chosen[index]!), operand) : null,
      );
    },
    emit: ({ graph, inputs: [a, b], outputs, inputSpecs }) =>
      void emitExtremum(graph, onnx, a!, b!, inputSpecs[0]!.dtype, outputs),
  };
}

/** Before opset 12 Min and Max take floats only. */
export function emitExtremum(
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

export const operators = [Add, Sub, Mul, Div, Minimum, Maximum, Neg, Abs, Sign] as readonly Operator[];

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

/** `x · x`, element by element. ONNX Mul. */
export function square(x: Operand): Value {
  return mul(x, x);
}

/** The smaller of two operands, element by element, broadcasting. ONNX Min. */
export function minimum(a: Operand, b: Operand): Value {
  return applyOne(Minimum, [a, b], {});
}

/** The larger of two operands, element by element, broadcasting. ONNX Max. */
export function maximum(a: Operand, b: Operand): Value {
  return applyOne(Maximum, [a, b], {});
}

/** `−x`. ONNX Neg. */
export function neg(x: Operand): Value {
  return applyOne(Neg, [x], {});
}

/** `|x|`. ONNX Abs. */
export function abs(x: Operand): Value {
  return applyOne(Abs, [x], {});
}

/** −1, 0 or 1 as `x` is below, at or above 0. ONNX Sign. */
export function sign(x: Operand): Value {
  return applyOne(Sign, [x], {});
}
