import { floats, type Operator, requireDType, requireSameDType } from "../operator.ts";
import { applyOne, type Operand, type Value } from "../value.ts";
import {
  broadcast,
  constantScalar,
  type Ops,
  over,
  scale,
  sumTo,
  times,
  unary,
  unlessZero,
  zerosLike,
} from "./common.ts";

const Exp = unary("exp", "Exp", floats, ({ ops, results: [y], gradients: [d] }) => [
  unlessZero(ops, d!, times(ops, d!, y!)),
]);
const Log = unary("log", "Log", floats, ({ ops, operands: [x], gradients: [d] }) => [
  unlessZero(ops, d!, over(ops, d!, x!)),
]);
const Sqrt = unary("sqrt", "Sqrt", floats, ({ ops, results: [y], gradients: [d] }) => [
  unlessZero(ops, d!, over(ops, scale(ops, d!, 0.5), y!)),
]);
const Sin = unary("sin", "Sin", floats, ({ ops, operands: [x], gradients: [d] }) => [times(ops, d!, ops.cos(x!))]);
const Cos = unary("cos", "Cos", floats, ({ ops, operands: [x], gradients: [d] }) => [
  times(ops, scale(ops, d!, -1), ops.sin(x!)),
]);
const Erf = unary("erf", "Erf", ["float32"], ({ ops, operands: [x], gradients: [d] }) => [
  times(ops, scale(ops, d!, 2 / Math.sqrt(Math.PI)), ops.exp(ops.neg(ops.square(x!)))),
]);

const Pow: Operator = {
  name: "pow",
  onnx: "Pow",
  infer([base, exponent]) {
    requireDType(floats, base!, exponent!);
    requireSameDType(base!, exponent!);
    return [{ dtype: base!.dtype, shape: broadcast(base!.shape, exponent!.shape) }];
  },
  gradient: ({ ops, operands: [base, exponent], results: [y], gradients: [d], needed }) => [
    needed[0] ? sumTo(ops, baseGradient(ops, d!, base!, exponent!), base!) : null,
    needed[1]
      ? sumTo(ops, unlessZero(ops, d!, times(ops, d!, exponentSlope(ops, base!, exponent!, y!))), exponent!)
      : null,
  ],
  emit: ({ graph, inputs, outputs }) => void graph.node("Pow", inputs, {}, outputs),
};

/** The slope times what arrives; a whole exponent from 1 up has a finite slope everywhere. */
function baseGradient(ops: Ops, d: Value, base: Value, exponent: Value): Value {
  const known = constantScalar(exponent);
  const product = times(ops, d, slope(ops, base, exponent));
  return known !== undefined && Number.isInteger(known) && known >= 0 ? product : unlessZero(ops, d, product);
}

/** `exponent · base ^ (exponent − 1)`, and 0 where the exponent is 0. */
function slope(ops: Ops, base: Value, exponent: Value): Value {
  const known = constantScalar(exponent);
  if (known === undefined) {
    const power = ops.mul(exponent, ops.pow(base, ops.sub(exponent, 1)));
    return ops.where(ops.equal(exponent, 0), 0, power);
  }
  if (known === 0) return zerosLike(ops, base);
  if (known === 2) return ops.mul(base, 2);
  return ops.mul(known === 3 ? ops.square(base) : ops.pow(base, known - 1), known);
}

/** `base ^ exponent · ln base`, and 0 where the base is 0 and the exponent is not negative. */
function exponentSlope(ops: Ops, base: Value, exponent: Value, y: Value): Value {
  const flat = ops.and(ops.equal(base, 0), ops.greaterOrEqual(exponent, 0));
  return ops.where(flat, 0, ops.mul(y, ops.log(base)));
}

export const operators = [Exp, Log, Sqrt, Sin, Cos, Erf, Pow] as readonly Operator[];

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

/** Sine of an angle in radians; float32 or float64. ONNX Sin. */
export function sin(x: Operand): Value {
  return applyOne(Sin, [x], {});
}

/** Cosine of an angle in radians; float32 or float64. ONNX Cos. */
export function cos(x: Operand): Value {
  return applyOne(Cos, [x], {});
}

/** Gauss error function `2/√π ∫₀ˣ e^(−t²) dt`; float32. ONNX Erf. */
export function erf(x: Operand): Value {
  return applyOne(Erf, [x], {});
}

/** `base ^ exponent`, element by element, broadcasting; both float32 or both float64. ONNX Pow. */
export function pow(base: Operand, exponent: Operand): Value {
  return applyOne(Pow, [base, exponent], {});
}
