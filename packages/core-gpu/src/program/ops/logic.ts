import { dataTypeOf } from "../../onnx/dtypes.ts";
import type { DType } from "../../tensor.ts";
import { type Emission, numbers, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import { applyOne, type Operand, type Value } from "../value.ts";
import { binary, broadcast, eachPair, oneNode, sumTo, unary, unrepeated } from "./common.ts";

const Greater = binary("greater", "Greater", numbers, "zero", "bool");
const Less = binary("less", "Less", numbers, "zero", "bool");
const Equal = binary("equal", "Equal", [...numbers, "bool"], "zero", "bool");
const And = binary("and", "And", ["bool"], "zero", "bool");
const Or = binary("or", "Or", ["bool"], "zero", "bool");
const Not = unary("not", "Not", ["bool"], "zero");
const GreaterOrEqual = orEqual("greaterOrEqual", "GreaterOrEqual", "Less");
const LessOrEqual = orEqual("lessOrEqual", "LessOrEqual", "Greater");

/** ONNX has these since opset 12. Before, with `opposite`, and false where one is NaN as the standard wants. */
function orEqual(name: string, onnx: string, opposite: "Less" | "Greater"): Operator {
  const strict = opposite === "Less" ? "Greater" : "Less";
  return {
    name,
    onnx,
    infer: eachPair(numbers, "bool"),
    gradient: "zero",
    emit({ graph, inputs, outputs }: Emission) {
      if (graph.opset >= 12) graph.node(onnx, inputs, {}, outputs);
      else graph.node("Or", [graph.node(strict, inputs), graph.node("Equal", inputs)], {}, outputs);
    },
  };
}

const Where: Operator = {
  name: "where",
  onnx: "Where",
  infer([condition, a, b]) {
    if (condition!.dtype !== "bool") refuse("the condition must be bool");
    requireDType([...numbers, "uint8"], a!, b!);
    requireSameDType(a!, b!);
    return [{ dtype: a!.dtype, shape: broadcast(condition!.shape, broadcast(a!.shape, b!.shape)) }];
  },
  gradient({ ops, operands: [condition, a, b], gradients: [d], needed }) {
    const short = unrepeated(d!, condition!);
    return [
      null,
      needed[1] ? sumTo(ops, ops.where(condition!, short, 0), a!) : null,
      needed[2] ? sumTo(ops, ops.where(condition!, 0, short), b!) : null,
    ];
  },
  emit: oneNode("Where"),
};

const Cast: Operator<{ readonly dtype: DType }> = {
  name: "cast",
  onnx: "Cast",
  infer: ([x], { dtype }) => {
    if (!["float32", "float64", "int32", "int64", "uint8", "bool"].includes(dtype))
      refuse("unknown dtype", `"${dtype}"`);
    return [{ dtype, shape: x!.shape }];
  },
  gradient: ({ ops, operands: [x], gradients: [d] }) => [ops.cast(d!, x!.dtype)],
  emit: oneNode("Cast", ({ dtype }) => ({ to: dataTypeOf(dtype) })),
};

export const operators = [
  Greater,
  Less,
  Equal,
  And,
  Or,
  Not,
  GreaterOrEqual,
  LessOrEqual,
  Where,
  Cast,
] as readonly Operator[];

/** Whether `a > b`, element by element, broadcasting; bool. ONNX Greater. */
export function greater(a: Operand, b: Operand): Value {
  return applyOne(Greater, [a, b], {});
}

/** Whether `a ≥ b`, element by element, broadcasting; bool. ONNX GreaterOrEqual. */
export function greaterOrEqual(a: Operand, b: Operand): Value {
  return applyOne(GreaterOrEqual, [a, b], {});
}

/** Whether `a < b`, element by element, broadcasting; bool. ONNX Less. */
export function less(a: Operand, b: Operand): Value {
  return applyOne(Less, [a, b], {});
}

/** Whether `a ≤ b`, element by element, broadcasting; bool. ONNX LessOrEqual. */
export function lessOrEqual(a: Operand, b: Operand): Value {
  return applyOne(LessOrEqual, [a, b], {});
}

/** Whether `a = b`, element by element, broadcasting; bool. ONNX Equal. */
export function equal(a: Operand, b: Operand): Value {
  return applyOne(Equal, [a, b], {});
}

/** Whether both are true, element by element, broadcasting; bool. ONNX And. */
export function and(a: Operand, b: Operand): Value {
  return applyOne(And, [a, b], {});
}

/** Whether one is true or both, element by element, broadcasting; bool. ONNX Or. */
export function or(a: Operand, b: Operand): Value {
  return applyOne(Or, [a, b], {});
}

/** Whether it is false, element by element; bool. ONNX Not. */
export function not(x: Operand): Value {
  return applyOne(Not, [x], {});
}

/** `a` where `condition` (bool) holds, else `b`, element by element, all three broadcasting. ONNX Where. */
export function where(condition: Operand, a: Operand, b: Operand): Value {
  return applyOne(Where, [condition, a, b], {});
}

/** The elements as another dtype; floats lose their fraction towards whole ones; bool is 0 or 1. ONNX Cast. */
export function cast(x: Operand, dtype: DType): Value {
  return applyOne(Cast, [x], { dtype });
}
