export { type Agreement, agreementFrontier, agreementOf, fitAgreement } from "./agreement.ts";
export { auroc } from "./auroc.ts";
export type { Backbone, BackboneResult } from "./backbone.ts";
export { branchyNet } from "./branchyNet.ts";
export { type Calibrated, type CalibrateOptions, calibrate, type Risk } from "./calibrate.ts";
export { type Confidence, confidenceOf, confidences, predictionOf } from "./confidence.ts";
export { classMeansOverhead, type ExitCosts, exitCosts } from "./cost.ts";
export { type CountExitCostsOptions, countExitCosts } from "./countExitCosts.ts";
export { defineExits } from "./defineExits.ts";
export {
  type ExitNetwork,
  type ExitNetworkResult,
  type ExitParameters,
  type ExitPlan,
  exitNetwork,
  type Trains,
} from "./exitNetwork.ts";
export type { Exit, ExitModel } from "./exits.ts";
export { type Distillation, type ExitsLoss, type ExitsLossOptions, exitsLoss } from "./exitsLoss.ts";
export { exportSingle } from "./exportSingle.ts";
export { type ExportedStages, exportStages, type StageDescription } from "./exportStages.ts";
export { cheapestWithin, frontier, upperHull } from "./frontier.ts";
export { attachGates } from "./gates/attachGates.ts";
export { fitGates } from "./gates/fitGates.ts";
export { type Gate, type Gates, gateConfidence } from "./gates/gate.ts";
export { gatedRecord } from "./gates/gatedRecord.ts";
export { type LogitsRecord, recordLogits } from "./gates/recordLogits.ts";
export * as heads from "./heads/index.ts";
export { type ImportBackboneOptions, importBackbone } from "./importBackbone.ts";
export * as lossWeights from "./lossWeights.ts";
export type { ExitMethod } from "./method.ts";
export { type ProgramBackboneOptions, programBackbone } from "./programBackbone.ts";
export { checkRecord, concatRecords, type ExitRecord, REJECTED, selectExits, selectRows } from "./record.ts";
export { type LabelledBatch, type RecordExitsOptions, recordExits } from "./recordExits.ts";
export { ALWAYS, NEVER, type OperatingPoint, type Replay, replay } from "./replay.ts";
export { searchThresholds } from "./searchThresholds.ts";
export { type ShallowDeepOptions, shallowDeep } from "./shallowDeep.ts";
export { type Solved, solveThresholds, type ThresholdGoal } from "./solveThresholds.ts";
export {
  type Classification,
  type Execution,
  openStaged,
  type StagedClassifier,
  type StagedOptions,
} from "./staged.ts";
export { tapsAtShares } from "./tapsAtShares.ts";
export { type ToExitModelOptions, toExitModel } from "./toExitModel.ts";
export { type ExitEpoch, type TrainExitsOptions, type TrainedExits, trainExits } from "./trainExits.ts";
