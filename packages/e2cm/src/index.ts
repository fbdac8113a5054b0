// What an example with this package alone needs.
export { readModelFile, readSafetensorsFile, rows, type Tensor, tensor } from "@exitkit/core-gpu";
export { type AccumulateOptions, accumulateStatistics } from "./accumulate.ts";
export type { Batch, Batches } from "./batches.ts";
export { type CalibrateOptions, calibrateExits } from "./calibrateExits.ts";
export { type Classifier, type ClassifierOptions, openClassifier } from "./classifier.ts";
export type { ClassMeans } from "./classMeans.ts";
export type { Metric } from "./closedForm.ts";
export type { DiscriminantSpace } from "./discriminantSpace.ts";
export { type DistanceInputsOptions, distanceInputs } from "./distanceInputs.ts";
export type { DistanceRule } from "./distances.ts";
export type { ClassMeansExit, FittedExit, OutputExit, SharedCovarianceExit } from "./exits.ts";
export { loadExits, saveExits } from "./exitsFile.ts";
export type { FeatureKind, FeatureMap } from "./features.ts";
export { type FitOptions, fit } from "./fit.ts";
export type { Calibration, FittedExits } from "./fittedExits.ts";
export {
  type DecisionSettings,
  type FromStatisticsOptions,
  fitFromStatistics,
  type SolveOptions,
  solveExits,
} from "./fromStatistics.ts";
export { quantisedExits } from "./quantise.ts";
export type { Rejection, RejectOptions } from "./rejection.ts";
export type { ScoreRecord } from "./scoreRecord.ts";
export { exitNovelty, exitRecord, type RecordDecision, type RecordScoresOptions, recordScores } from "./scores.ts";
export type { Shrinkage } from "./sharedCovariance.ts";
export { type ClassStatistics, type ExitStatistics, mergeStatistics, withMoreClasses } from "./statistics.ts";
export { type ToExitModelOptions, toExitModel } from "./toExitModel.ts";
export { updateClasses } from "./updateClasses.ts";
