export { gelu, leakyRelu, logSoftmax, relu, sigmoid, silu, softmax, softplus, tanh } from "./activation.ts";
export {
  abs,
  add,
  ceil,
  clip,
  cos,
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
  roundStraightThrough,
  sign,
  sin,
  sqrt,
  square,
  sub,
} from "./arithmetic.ts";
export type { AttentionOptions } from "./attention.ts";
export { attention } from "./attention.ts";
export type { BatchNormGradientResult, BatchNormOptions, BatchNormTrainingResult } from "./batch-norm.ts";
export { batchNorm, batchNormGradient, batchNormTraining } from "./batch-norm.ts";
export type { ConvOptions } from "./conv.ts";
export { conv } from "./conv.ts";
export type { ConvGradientOptions } from "./conv-gradient.ts";
export { convInputGradient, convWeightGradient } from "./conv-gradient.ts";
export type { ConvTransposeOptions } from "./conv-transpose.ts";
export { convTranspose } from "./conv-transpose.ts";
export type { CumSumOptions } from "./cum-sum.ts";
export { cumSum } from "./cum-sum.ts";
export { dropout, dropoutMask } from "./dropout.ts";
export { einsum } from "./einsum.ts";
export { embedding } from "./embedding.ts";
export { concat, split } from "./join.ts";
export type { MatmulOptions } from "./linear.ts";
export { linear, matmul } from "./linear.ts";
export { and, cast, equal, greater, greaterOrEqual, less, lessOrEqual, not, or, where } from "./logic.ts";
export type { CrossEntropyOptions, KlDivergenceOptions, Reduction } from "./loss.ts";
export { crossEntropy, klDivergence, mse } from "./loss.ts";
export { gatherNd, scatterNd } from "./many-axes.ts";
export { maxPoolGradient } from "./max-pool-gradient.ts";
export { norm } from "./norm.ts";
export type { NormalisationOptions } from "./normalise.ts";
export { groupNorm, layerNorm, rmsNorm } from "./normalise.ts";
export type { PadOptions } from "./pad.ts";
export { pad } from "./pad.ts";
export { averagePool, globalAveragePool, maxPool } from "./pool.ts";
export type { PoolOptions } from "./pool-shape.ts";
export type { ArgReduceOptions, ReduceOptions } from "./reduce.ts";
export { argMax, argMin, logSumExp, max, mean, min, prod, sum, sumSquares } from "./reduce.ts";
export type { ResizeOptions } from "./resize.ts";
export { resize } from "./resize.ts";
export type { RotaryEmbeddingOptions } from "./rotary.ts";
export { rotaryEmbedding, rotaryTables } from "./rotary.ts";
export type { AxisOptions } from "./scatter.ts";
export { indexAdd, iota, scatter, scatterAdd, takeAlongAxis } from "./scatter.ts";
export type { Range } from "./select.ts";
export { compress, gather, slice, sort, topK } from "./select.ts";
export { expand, flatten, identity, reshape, shapeOf, squeeze, stopGradient, transpose, unsqueeze } from "./shape.ts";
