export type { AttentionParameters, InitAttentionOptions, MultiHeadAttentionOptions } from "./attention.ts";
export { initMultiHeadAttention, multiHeadAttention } from "./attention.ts";
export type { ConvParameters, InitConvOptions } from "./conv.ts";
export { conv, convTranspose, initConv, initConvTranspose } from "./conv.ts";
export type { EmbeddingOptions, EmbeddingParameters } from "./embedding.ts";
export { embedding, initEmbedding } from "./embedding.ts";
export type {
  Initialiser,
  KaimingOptions,
  Nonlinearity,
  TruncatedNormalOptions,
  XavierOptions,
} from "./initialisers.ts";
export {
  constant,
  fans,
  gain,
  kaimingNormal,
  kaimingUniform,
  normal,
  ones,
  pytorchBias,
  pytorchWeight,
  truncatedNormal,
  uniform,
  xavierNormal,
  xavierUniform,
  zeros,
} from "./initialisers.ts";
export type { LinearOptions, LinearParameters } from "./linear.ts";
export { initLinear, linear } from "./linear.ts";
export { initMlp, mlp } from "./mlp.ts";
export type { BatchNormOptions, BatchNormParameters, LayerNormParameters, RunningStatistics } from "./normalise.ts";
export {
  batchNorm,
  groupNorm,
  initBatchNorm,
  initGroupNorm,
  initLayerNorm,
  initRmsNorm,
  layerNorm,
  rmsNorm,
} from "./normalise.ts";
export type { SpecsOfTensors, Trainable } from "./parameters.ts";
export {
  countParameters,
  flattenParameters,
  isStatistic,
  mergeParameters,
  specsOf,
  trainable,
  unflattenParameters,
} from "./parameters.ts";
