import type { Device } from "@exitkit/core-gpu";
import {
  accumulateStatistics,
  type Batches,
  type ClassStatistics,
  type FittedExits,
  type Metric,
  solveExits,
} from "@exitkit/e2cm";
import type { Dataset } from "../../data/directory.ts";
import type { Pictures } from "../../data/pictures.ts";
import { counted } from "../../measuring/counted.ts";
import type { Backbone } from "../../zoo/backbone.ts";
import type { Context } from "../experiment.ts";

/** A network to make open. */
export interface Subject {
  readonly context: Context;
  readonly device: Device;
  readonly backbone: Backbone;
  readonly data: Dataset;
}

export const METRICS: readonly Metric[] = ["euclidean", "sharedCovariance"];

/** Scores that the networks here give. */
export const OUTPUTS = 10;

/** What the last exit is called. */
export const FULL = "full network";

/** Where exits stand, as fractions of the blocks: near the package's default, and after the last one. */
const PLACES = [2 / 9, 4 / 9, 7 / 9, 1];

/**
 * Where exits stand, and the network's output, whose class means novelty needs. A shared covariance leaves out the last block: its
 * 3,104 features would take most of the time.
 */
function tapsOf({ blocks, output }: Backbone, metric: Metric): readonly string[] {
  const places = metric === "euclidean" ? PLACES : PLACES.slice(0, -1);
  return [...places.map((place) => blocks[Math.round(place * (blocks.length - 1))]!), output];
}

/** Sums of labelled pictures at {@link tapsOf}. */
export function sumUp(
  { context, backbone, device }: Omit<Subject, "data">,
  title: string,
  pictures: Pictures,
  classes: number,
  metric: Metric,
): Promise<ClassStatistics> {
  const stream: Batches = counted(context.progress, `${backbone.name}: ${title}`, pictures);
  return accumulateStatistics(backbone.model, stream, {
    classes,
    outputs: OUTPUTS,
    metric,
    taps: tapsOf(backbone, metric),
    device,
  });
}

/** Exits whose last answers by nearest mean of its outputs: for classes that are not the network's own. */
export async function nearestMeans(
  { backbone, device }: Pick<Subject, "backbone" | "device">,
  statistics: ClassStatistics,
  metric: Metric,
): Promise<FittedExits> {
  return solveExits(backbone.model, statistics, { metric, last: "nearestMean", device });
}
