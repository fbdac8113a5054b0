import type { Device } from "@exitkit/core-gpu";
import type { Dataset } from "../../../data/directory.ts";
import type { pretrained } from "../../../zoo/resnet.ts";
import type { Context } from "../../experiment.ts";

/** What the parts of the experiment share about one backbone. */
export interface Subject {
  readonly context: Context;
  readonly device: Device;
  readonly backbone: Awaited<ReturnType<typeof pretrained>>;
  readonly data: Dataset;
  readonly settings: Settings;
  /** Key of a step of this backbone. */
  readonly key: (step: string) => string;
}

/** What a preset decides. */
export interface Settings {
  /** The last one is the one the report begins with. */
  readonly backbones: readonly ("resnet20" | "resnet56")[];
  /** Training pictures that thresholds are chosen on in the paper's protocol. */
  readonly thresholdPictures: number;
  /** Every how many blocks an exit of the depth tables stands. */
  readonly everyBlock: number;
  /** Whether exits of pooled features are compared too: one more pass over the training pictures. */
  readonly pooled: boolean;
  /** Random threshold vectors of the paper's search. */
  readonly draws: number;
  /** Random halvings of the test pictures. */
  readonly halvings: number;
  /** The loss that is asked for in the timings, the headline and the example pictures; it is guarded. */
  readonly timedLoss: number;
  /** Rounds of every timing. */
  readonly rounds: number;
  /** Pictures timed a round, at most, but for the batch size of the headline. */
  readonly timedPictures: number;
  /** Batches of pictures that the speed of fitting is measured on; 0: it is not. */
  readonly fitPasses: number;
  /** Milliseconds for timing what exits add; 0: it is not timed. */
  readonly overheadBudget: number;
}

export const CLASSES = 10;

/** Blocks whose outputs the depth tables read: every n-th, the last included; the stem too where every block is read. */
export function depthTaps({ backbone, settings }: Subject): readonly string[] {
  const { everyBlock } = settings;
  if (everyBlock === 1) return backbone.blocks;
  return backbone.blocks.filter((_, block) => block > 0 && block % everyBlock === 0);
}

/** Place of a tap among the blocks: 0 the stem, 1 the first block, … */
export function depthOf({ backbone }: Subject, tap: string): number {
  return backbone.blocks.indexOf(tap);
}
