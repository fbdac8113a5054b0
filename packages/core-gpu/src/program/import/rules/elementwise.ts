import * as ops from "../../ops/index.ts";
import type { Operand, Value } from "../../value.ts";
import { dtypeOf, type ImportNode, unsupported } from "../node.ts";
import { type Rules, scalarLike, scalarOf } from "./rule.ts";

const unary = (apply: (x: Operand) => Value) => (node: ImportNode) => apply(node.value(0));
const binary = (apply: (a: Operand, b: Operand) => Value) => (node: ImportNode) => apply(node.value(0), node.value(1));
const variadic = (apply: (a: Operand, b: Operand) => Value) => (node: ImportNode) => {
  const [first, ...others] = Array.from({ length: node.inputCount }, (_, index) => node.value(index));
  return others.reduce((result, other) => apply(result, other), first!);
};

function pow(node: ImportNode): Value {
  const base = node.value(0);
  // The usual exponents have exact and faster forms.
  switch (scalarOf(node, 1)) {
    case 1:
      return base;
    case 2:
      return ops.square(base);
    case 3:
      return ops.mul(ops.square(base), base);
    case 0.5:
      return ops.sqrt(base);
    case -1:
      return ops.div(scalarLike(base, 1), base);
    default:
      return ops.pow(base, node.spec(1).dtype === base.dtype ? node.value(1) : ops.cast(node.value(1), base.dtype));
  }
}

function clip(node: ImportNode): Value {
  const limit = (index: number, name: string): number | undefined => {
    if (node.has(index)) return scalarOf(node, index) ?? unsupported(`its limit, input ${index}, is computed`);
    return node.attribute(name)?.f;
  };
  const minimum = limit(1, "min");
  const maximum = limit(2, "max");
  return ops.clip(node.value(0), {
    ...(minimum === undefined || minimum === -Infinity ? {} : { minimum }),
    ...(maximum === undefined || maximum === Infinity ? {} : { maximum }),
  });
}

function hardSigmoid(x: Value, alpha: number, beta: number): Value {
  return ops.clip(ops.add(ops.mul(x, alpha), beta), { minimum: 0, maximum: 1 });
}

/** `x` where it is positive, else `scale · (e^(x ÷ divisor) − 1)`; the exponential never sees a positive number. */
function exponentialBelow(x: Value, scale: number, divisor = 1): Value {
  const low = ops.minimum(x, 0);
  const exponential = ops.sub(ops.exp(divisor === 1 ? low : ops.div(low, divisor)), 1);
  return ops.add(ops.relu(x), scale === 1 ? exponential : ops.mul(exponential, scale));
}

function prelu(node: ImportNode): Value {
  const x = node.value(0);
  return ops.sub(ops.relu(x), ops.mul(node.value(1), ops.relu(ops.neg(x))));
}

/** Before opset 13 these operators join all axes from `axis` on. */
const alongAxis =
  (apply: (x: Operand, options: { readonly axis: number }) => Value) =>
  (node: ImportNode): Value => {
    const x = node.value(0);
    const rank = x.shape.length;
    const given = node.int("axis", node.opset >= 13 ? -1 : 1);
    const axis = given < 0 ? given + rank : given;
    if (node.opset >= 13 || axis === rank - 1) return apply(x, { axis });
    return ops.reshape(apply(ops.flatten(x, axis), { axis: 1 }), x.shape);
  };

export const elementwise: Rules = {
  Add: binary(ops.add),
  Sub: binary(ops.sub),
  Mul: binary(ops.mul),
  Div: binary(ops.div),
  Pow: pow,
  Min: variadic(ops.minimum),
  Max: variadic(ops.maximum),
  Sum: variadic(ops.add),
  Mean: (node) => ops.div(variadic(ops.add)(node), node.inputCount),
  Neg: unary(ops.neg),
  Abs: unary(ops.abs),
  Exp: unary(ops.exp),
  Log: unary(ops.log),
  Sqrt: unary(ops.sqrt),
  Reciprocal: (node) => ops.div(scalarLike(node.value(0), 1), node.value(0)),
  Floor: unary(ops.floor),
  Ceil: unary(ops.ceil),
  Round: unary(ops.round),
  Sign: unary(ops.sign),
  Sin: unary(ops.sin),
  Cos: unary(ops.cos),
  Erf: unary(ops.erf),
  Clip: clip,
  Relu: unary(ops.relu),
  LeakyRelu: (node) => ops.leakyRelu(node.value(0), { slope: node.float("alpha", 0.01) }),
  PRelu: prelu,
  ThresholdedRelu: (node) => {
    const x = node.value(0);
    return ops.where(ops.greater(x, node.float("alpha", 1)), x, scalarLike(x, 0));
  },
  Sigmoid: unary(ops.sigmoid),
  HardSigmoid: (node) => hardSigmoid(node.value(0), node.float("alpha", 0.2), node.float("beta", 0.5)),
  HardSwish: (node) => ops.mul(node.value(0), hardSigmoid(node.value(0), 1 / 6, 0.5)),
  Swish: (node) => ops.mul(node.value(0), ops.sigmoid(ops.mul(node.value(0), node.float("alpha", 1)))),
  Tanh: unary(ops.tanh),
  Softplus: unary(ops.softplus),
  Softsign: (node) => ops.div(node.value(0), ops.add(ops.abs(node.value(0)), 1)),
  Mish: (node) => ops.mul(node.value(0), ops.tanh(ops.softplus(node.value(0)))),
  Elu: (node) => exponentialBelow(node.value(0), node.float("alpha", 1)),
  Celu: (node) => exponentialBelow(node.value(0), node.float("alpha", 1), node.float("alpha", 1)),
  Selu: (node) => {
    const [alpha, gamma] = [node.float("alpha", 1.6732632423543772), node.float("gamma", 1.0507009873554805)];
    return ops.mul(exponentialBelow(node.value(0), alpha), gamma);
  },
  Gelu: (node) =>
    ops.gelu(node.value(0), { approximate: node.text("approximate", "none") === "tanh" ? "tanh" : "none" }),
  Softmax: alongAxis(ops.softmax),
  LogSoftmax: alongAxis(ops.logSoftmax),
  Greater: binary(ops.greater),
  GreaterOrEqual: binary(ops.greaterOrEqual),
  Less: binary(ops.less),
  LessOrEqual: binary(ops.lessOrEqual),
  Equal: binary(ops.equal),
  And: binary(ops.and),
  Or: binary(ops.or),
  Not: unary(ops.not),
  IsNaN: (node) => ops.not(ops.equal(node.value(0), node.value(0))),
  Where: (node) => ops.where(node.value(0), node.value(1), node.value(2)),
  Cast: (node) => cast(node, dtypeOf(node.int("to", 0))),
  CastLike: (node) => cast(node, node.spec(1).dtype),
};

function cast(node: ImportNode, dtype: Value["dtype"]): Value {
  return node.spec(0).dtype === dtype ? node.value(0) : ops.cast(node.value(0), dtype);
}
