export type { Backbone, BackboneResult } from "./backbones/backbone.ts";
export { type ImportBackboneOptions, importBackbone } from "./backbones/import-backbone.ts";
export { type ProgramBackboneOptions, programBackbone } from "./backbones/program-backbone.ts";
export { type CascadeConfidence, type CascadeOptions, cascade } from "./cascade/cascade.ts";
export {
  type CascadeChoice,
  type ChooseCascadeOptions,
  type ChosenCascade,
  cascadeRecord,
  chooseCascade,
} from "./cascade/choose-cascade.ts";
export {
  type MeasuredMember,
  type MeasuredMembers,
  type MeasureMembersOptions,
  measureMembers,
} from "./cascade/measure-members.ts";
export type { CascadeMember } from "./cascade/member.ts";
export { fitTemperature } from "./cascade/temperature.ts";
export { classMeansOverhead, type ExitCosts, exitCosts } from "./costs/cost.ts";
export { type CountExitCostsOptions, countExitCosts } from "./costs/count-exit-costs.ts";
export { type Confidence, confidenceOf, confidences, predictionOf } from "./exits/confidence.ts";
export { defineExits } from "./exits/define-exits.ts";
export type { Exit, ExitModel } from "./exits/exits.ts";
export { tapsAtShares } from "./exits/taps-at-shares.ts";
export { exportSingle } from "./export/export-single.ts";
export { type ExportedStages, exportStages, type StageDescription } from "./export/export-stages.ts";
export { attachGates } from "./gates/attach-gates.ts";
export { fitGates } from "./gates/fit-gates.ts";
export { type Gate, type Gates, gateConfidence } from "./gates/gate.ts";
export { gatedRecord } from "./gates/gated-record.ts";
export { type LogitsRecord, recordLogits } from "./gates/record-logits.ts";
export * as heads from "./heads/index.ts";
export { branchyNet } from "./methods/branchy-net.ts";
export type { ExitMethod } from "./methods/method.ts";
export { type ShallowDeepOptions, shallowDeep } from "./methods/shallow-deep.ts";
export { auroc } from "./records/auroc.ts";
export { type Labels, labelsOf } from "./records/labels.ts";
export {
  checkRecord,
  concatRecords,
  type ExitRecord,
  REJECTED,
  selectExits,
  selectRows,
  type Unit,
} from "./records/record.ts";
export { type LabelledBatch, type RecordExitsOptions, recordExits } from "./records/record-exits.ts";
export { ALWAYS, NEVER, type OperatingPoint, type Replay, replay } from "./records/replay.ts";
export { type UnitAnswers, type UnitRecordOptions, unitRecord } from "./records/unit-record.ts";
export { meanIsBelow } from "./risk/betting.ts";
export { type Calibrated, type CalibrateOptions, calibrate } from "./risk/calibrate.ts";
export {
  cheapestGuarded,
  type Guarded,
  type GuardedOptions,
  type GuardedPoint,
  guardedPoints,
  samplesNeeded,
} from "./risk/guarded.ts";
export type { Risk } from "./risk/losses.ts";
export {
  type Classification,
  type ClassifyOptions,
  type Execution,
  openStaged,
  type StagedClassifier,
  type StagedOptions,
} from "./staged/staged.ts";
export { type Agreement, agreementFrontier, agreementOf, fitAgreement } from "./thresholds/agreement.ts";
export { cheapestWithin, frontier, upperHull } from "./thresholds/frontier.ts";
export { searchThresholds } from "./thresholds/search-thresholds.ts";
export { type Solved, solveThresholds, type ThresholdGoal } from "./thresholds/solve-thresholds.ts";
export {
  type ExitNetwork,
  type ExitNetworkResult,
  type ExitParameters,
  type ExitPlan,
  exitNetwork,
  type Trains,
} from "./training/exit-network.ts";
export { type Distillation, type ExitsLoss, type ExitsLossOptions, exitsLoss } from "./training/exits-loss.ts";
export * as lossWeights from "./training/loss-weights.ts";
export { type ToExitModelOptions, toExitModel } from "./training/to-exit-model.ts";
export { type ExitEpoch, type TrainExitsOptions, type TrainedExits, trainExits } from "./training/train-exits.ts";
