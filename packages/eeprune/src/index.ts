// What an example with this package alone needs.
export { generator } from "@exitkit/core-gpu";
export { type BriefRun, type BriefRunOptions, briefRun, type Cost, type EpochColumns } from "./brief-run/brief-run.ts";
export { type GradientNormsOptions, gradientNorms } from "./brief-run/gradient-norms.ts";
export {
  type PrunedTrainingSet,
  type PruneTrainingSetOptions,
  pruneTrainingSet,
} from "./brief-run/prune-training-set.ts";
export type { Column, Values } from "./columns/column.ts";
export { type ScoreColumns, scoreColumns } from "./columns/score-columns.ts";
export {
  type EarlyExitColumns,
  type PruneOptions,
  pruneByEarlyExit,
  type Shortfall,
} from "./criterion/prune-by-early-exit.ts";
export { hashSamples } from "./files/hash-samples.ts";
export {
  type ColumnSource,
  type ColumnSources,
  type ColumnValues,
  readColumns,
  readNpyTensor,
} from "./files/read-columns.ts";
export { loadSelection, type SelectionData, saveSelection } from "./files/selection-file.ts";
export { type Duplicates, type PruningReport, pruningReport } from "./findings/pruning-report.ts";
export { type LabelEvidence, rankLabelNoise, type Suspect } from "./findings/rank-label-noise.ts";
export { type ChooseCutOptions, type ChosenCut, chooseCut } from "./rivals/choose-cut.ts";
export type { Evidence, RunEvidence } from "./rivals/evidence.ts";
export type { MethodFacts, ScoreName } from "./rivals/methods.ts";
export { METHODS, type MethodName, type PruneByOptions, pruneBy } from "./rivals/prune-by.ts";
export type { Balance } from "./selection/groups.ts";
export type { Selection, Vanishing } from "./selection/selection.ts";
export {
  type SkippingEpoch,
  type TrainedSkipping,
  type TrainSkippingOptions,
  trainSkipping,
} from "./while-training/train-skipping.ts";
