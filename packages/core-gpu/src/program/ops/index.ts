export { gelu, leakyRelu, logSoftmax, relu, sigmoid, silu, softmax, softplus, tanh } from "./activation.ts";
export {
  abs,
  add,
  ceil,
  clip,
  div,
  erf,
  exp,
  floor,
  log,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  round,
  sqrt,
  square,
  sub,
} from "./arithmetic.ts";
export type { ConvOptions } from "./conv.ts";
export { conv } from "./conv.ts";
export { linear, matmul } from "./linear.ts";
export { and, cast, equal, greater, greaterOrEqual, less, lessOrEqual, not, or, where } from "./logic.ts";
export type { NormalisationOptions } from "./normalise.ts";
export { batchNorm, layerNorm } from "./normalise.ts";
export type { PoolOptions } from "./pool.ts";
export { averagePool, globalAveragePool, maxPool } from "./pool.ts";
export type { ArgReduceOptions, ReduceOptions } from "./reduce.ts";
export { argMax, argMin, logSumExp, max, mean, min, prod, sum, sumSquares } from "./reduce.ts";
export type { Range } from "./select.ts";
export { compress, gather, slice, topK } from "./select.ts";
export type { PadOptions } from "./shape.ts";
export { concat, expand, flatten, identity, pad, reshape, shapeOf, squeeze, transpose, unsqueeze } from "./shape.ts";
