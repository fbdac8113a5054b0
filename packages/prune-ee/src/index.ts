// What an example with this package alone needs.
export { generator } from "@exitkit/core-gpu";
export type { WeightScores } from "./channels/importance.ts";
export {
  type LayerWidth,
  type PruneChannelsOptions,
  type PrunedChannels,
  pruneChannels,
  type WantedTime,
} from "./channels/prune-channels.ts";
export { type ScoreChannelsOptions, scoreChannels } from "./channels/score-channels.ts";
export type { Criterion, ScoringContext } from "./criteria/index.ts";
export * as criteria from "./criteria/index.ts";
export { readSparseFile, writeSparseFile } from "./files/sparse-file.ts";
export { maskedOptimiser } from "./masks/masked-optimiser.ts";
export { applyMasks, type LayerSparsity, type Masks, sparsityOf } from "./masks/masks.ts";
export { type NextMasks, type NextMasksOptions, nextMasks, type Scores } from "./masks/next-masks.ts";
export type { Scope } from "./masks/weights.ts";
export type { Order } from "./orders/phases.ts";
export type { PruningRound } from "./orders/round.ts";
export { type FineTuning, type PrunedNetwork, type PruneNetworkOptions, pruneNetwork } from "./prune-network.ts";
export { type LayerPlace, type LayerShape, placeName } from "./times/layer-shape.ts";
export type { Bits, LayerTimes, TimedShape } from "./times/layer-times.ts";
export { type MeasureLayerTimesOptions, measureLayerTimes } from "./times/measure-layer-times.ts";
