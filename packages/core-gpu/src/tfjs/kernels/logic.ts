import type { DType } from "../../tensor.ts";
import { tfjsDType } from "../data.ts";
import type { Kernel, Kernels } from "../kernel.ts";
import { each, like, pair } from "./arithmetic.ts";

const cast: Kernel<{ readonly dtype: DType }> = (tf, { operands: [x], attributes: { dtype } }) => {
  const to = tfjsDType(dtype)!;
  if (to === "bool") {
    if (x!.dtype === "bool") return x!;
    const zero = like(tf, x!, 0);
    return tf.logicalNot(tf.equal(x!, zero));
  }
  const result = tf.cast(x!, to);
  return dtype === "uint8" ? tf.mod(result, like(tf, result, 256)) : result;
};

export const kernels: Kernels = {
  greater: pair("greater"),
  greaterOrEqual: pair("greaterEqual"),
  less: pair("less"),
  lessOrEqual: pair("lessEqual"),
  equal: (tf, { operands: [a, b] }) =>
    a!.dtype === "bool" ? tf.equal(tf.cast(a!, "int32"), tf.cast(b!, "int32")) : tf.equal(a!, b!),
  and: pair("logicalAnd"),
  or: pair("logicalOr"),
  not: each("logicalNot"),
  where: (tf, { operands: [condition, a, b] }) => tf.where(condition!, a!, b!),
  cast: cast as Kernel,
};
