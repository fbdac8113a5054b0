// What an example with this package alone needs.
export { readModelFile, readSafetensorsFile, rows, type Tensor, tensor } from "@exitkit/core-gpu";
export { type Classifier, type ClassifierOptions, type Guarantee, openClassifier } from "./classifier.ts";
export { type DistanceInputsOptions, distanceInputs } from "./decisions/distance-inputs.ts";
export type { DistanceRule } from "./decisions/distances.ts";
export type { Rejection, RejectOptions } from "./decisions/rejection.ts";
export type { ScoreRecord } from "./decisions/score-record.ts";
export {
  exitNovelty,
  exitRecord,
  type RecordDecision,
  type RecordScoresOptions,
  recordScores,
} from "./decisions/scores.ts";
export type { ClassMeans } from "./exits/class-means.ts";
export type { Metric } from "./exits/closed-form.ts";
export type { DiscriminantSpace } from "./exits/discriminant-space.ts";
export type { ClassMeansExit, FittedExit, OutputExit, SharedCovarianceExit } from "./exits/exits.ts";
export { loadExits, saveExits } from "./exits/exits-file.ts";
export type { Calibration, FittedExits } from "./exits/fitted-exits.ts";
export { quantisedExits } from "./exits/quantise.ts";
export type { Shrinkage } from "./exits/shared-covariance.ts";
export { type ToExitModelOptions, toExitModel } from "./exits/to-exit-model.ts";
export { type CalibrateOptions, calibrateExits } from "./fitting/calibrate-exits.ts";
export { type FitOptions, fit } from "./fitting/fit.ts";
export {
  type DecisionSettings,
  type FitProgress,
  type FromStatisticsOptions,
  fitFromStatistics,
  type SolveOptions,
  solveExits,
} from "./fitting/from-statistics.ts";
export { updateClasses } from "./fitting/update-classes.ts";
export type { Batch, Batches, RuntimeBatch } from "./network/batches.ts";
export type { FeatureKind, FeatureMap } from "./network/features.ts";
export { type AccumulateOptions, accumulateStatistics } from "./statistics/accumulate.ts";
export {
  type ClassStatistics,
  type ExitStatistics,
  mergeStatistics,
  withMoreClasses,
} from "./statistics/statistics.ts";
