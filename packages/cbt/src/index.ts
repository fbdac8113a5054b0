export type {
  Carry,
  Features,
  SegmentationExitNetwork,
  SegmentationNetwork,
  SegmentationStage,
} from "./execution/network.ts";
export { openPlain, type PlainSegmenter } from "./execution/open-plain.ts";
export {
  type Execution,
  openSegmenter,
  type Segmentation,
  type Segmenter,
  type SegmenterOptions,
} from "./execution/open-segmenter.ts";
export { type Carries, type CarryMap, type FitCarriesOptions, fitCarries, withCarries } from "./exits/carries.ts";
export { type ExitLogitsOptions, exitLogits } from "./exits/exit-logits.ts";
export { type FitPixelExitsOptions, fitPixelExits, type PixelExit, withPixelExits } from "./exits/pixel-exits.ts";
export type { LabelledFrames } from "./frames/labelled-frames.ts";
export { IGNORE, type LabelMap } from "./frames/labels.ts";
export type { Logits } from "./frames/logits.ts";
export { type Coordinates, type ResizeLogitsOptions, resizeLogits } from "./frames/resize-logits.ts";
export {
  type Confusion,
  type ConfusionOptions,
  countConfusion,
  type Quality,
  segmentationQuality,
} from "./quality/confusion.ts";
export {
  type PixelRecord,
  type PixelReplay,
  type RecordPixelsOptions,
  recordPixels,
  replayPixels,
} from "./record/pixel-record.ts";
export {
  type CalibratedFrames,
  type CalibrateFramesOptions,
  calibrateFrames,
} from "./risk/calibrate-frames.ts";
export {
  type FrameMeasures,
  type MeasureFramesOptions,
  measureFrames,
} from "./risk/measure-frames.ts";
export {
  type AccumulateOptions,
  accumulateClassProbabilities,
  type ClassProbabilities,
  type ExitLogits,
  mergeClassProbabilities,
} from "./thresholds/class-probabilities.ts";
export { type ClassThresholds, type ClassThresholdsOptions, classThresholds } from "./thresholds/class-thresholds.ts";
export { donePixels } from "./thresholds/done-pixels.ts";
export {
  type SolveClassThresholdsOptions,
  type SolvedClassThresholds,
  solveClassThresholds,
} from "./thresholds/solve-class-thresholds.ts";
