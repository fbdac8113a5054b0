export { type Agreement, agreementFrontier, agreementOf, fitAgreement } from "./agreement.ts";
export { type Confidence, confidenceOf, confidences, predictionOf } from "./confidence.ts";
export { classMeansOverhead, type ExitCosts, exitCosts } from "./cost.ts";
export { defineExits } from "./defineExits.ts";
export type { Exit, ExitModel } from "./exits.ts";
export { exportSingle } from "./exportSingle.ts";
export { type ExportedStages, exportStages, type StageDescription } from "./exportStages.ts";
export { cheapestWithin, frontier, upperHull } from "./frontier.ts";
export { checkRecord, concatRecords, type ExitRecord, selectExits, selectRows } from "./record.ts";
export { type LabelledBatch, type RecordExitsOptions, recordExits } from "./recordExits.ts";
export { ALWAYS, NEVER, type OperatingPoint, type Replay, replay } from "./replay.ts";
export { searchThresholds } from "./searchThresholds.ts";
export { type Solved, solveThresholds, type ThresholdGoal } from "./solveThresholds.ts";
export {
  type Classification,
  type Execution,
  openStaged,
  type StagedClassifier,
  type StagedOptions,
} from "./staged.ts";
