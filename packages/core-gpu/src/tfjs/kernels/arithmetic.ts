import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";

type EachName = "neg" | "exp" | "log" | "sqrt" | "floor" | "ceil" | "round" | "erf" | "sin" | "cos" | "sign";
type PairName = "add" | "sub" | "mul" | "minimum" | "maximum" | "pow";

/** A function of tfjs that means the same. */
export const each =
  (name: EachName | "relu" | "sigmoid" | "tanh" | "softplus" | "logicalNot"): Kernel =>
  (tf, { operands: [x] }) =>
    tf[name](x!);

/** A function of two operands of tfjs that means the same. */
export const pair =
  (name: PairName | "greater" | "greaterEqual" | "less" | "lessEqual" | "logicalAnd" | "logicalOr"): Kernel =>
  (tf, { operands: [a, b] }) =>
    tf[name](a!, b!);

/** A whole or other number beside `x`, of its dtype. */
export function like(tf: Tfjs, x: TfjsTensor, value: number): TfjsTensor {
  return tf.scalar(value, x.dtype === "int32" ? "int32" : "float32");
}

/** `|x|`; some back ends have it for floats only. */
function absolute(tf: Tfjs, x: TfjsTensor): TfjsTensor {
  return x.dtype === "int32" ? tf.maximum(x, tf.sub(like(tf, x, 0), x)) : tf.abs(x);
}

/** tfjs rounds quotients of whole numbers down; ours are truncated. */
function divide(tf: Tfjs, a: TfjsTensor, b: TfjsTensor): TfjsTensor {
  if (a.dtype !== "int32") return tf.div(a, b);
  const zero = like(tf, a, 0);
  const quotient = tf.floorDiv(absolute(tf, a), absolute(tf, b));
  const opposite = tf.less(tf.mul(signOf(tf, a), signOf(tf, b)), zero);
  return tf.where(opposite, tf.sub(zero, quotient), quotient);
}

function signOf(tf: Tfjs, x: TfjsTensor): TfjsTensor {
  const zero = like(tf, x, 0);
  return tf.sub(tf.cast(tf.greater(x, zero), "int32"), tf.cast(tf.less(x, zero), "int32"));
}

const clip: Kernel<{ readonly minimum: number | undefined; readonly maximum: number | undefined }> = (
  tf,
  { operands: [x], attributes: { minimum, maximum } },
) => {
  const low = minimum === undefined ? x! : tf.maximum(x!, like(tf, x!, minimum));
  return maximum === undefined ? low : tf.minimum(low, like(tf, x!, maximum));
};

export const kernels: Kernels = {
  add: pair("add"),
  sub: pair("sub"),
  mul: pair("mul"),
  div: (tf, { operands: [a, b] }) => divide(tf, a!, b!),
  minimum: pair("minimum"),
  maximum: pair("maximum"),
  pow: pair("pow"),
  neg: (tf, { operands: [x] }) => (x!.dtype === "int32" ? tf.sub(like(tf, x!, 0), x!) : tf.neg(x!)),
  abs: (tf, { operands: [x] }) => absolute(tf, x!),
  exp: each("exp"),
  log: each("log"),
  sqrt: each("sqrt"),
  floor: each("floor"),
  ceil: each("ceil"),
  round: each("round"),
  roundStraightThrough: each("round"),
  erf: each("erf"),
  sin: each("sin"),
  cos: each("cos"),
  sign: (tf, { operands: [x] }) => (x!.dtype === "int32" ? signOf(tf, x!) : tf.sign(x!)),
  clip: clip as Kernel,
};
