import { accumulateStatistics, type FittedExit, type FittedExits, solveExits } from "@exitkit/e2cm";
import { batches } from "../../data/batches.ts";
import type { Progress } from "../../terminal/progress.ts";
import { counted, PASS_BATCH } from "../e2cm/network.ts";
import type { Material } from "./network.ts";

/** The two forms of E²CM: the paper's, and the package's default. */
export type ClassMeansMethod = "e2cm-euclidean" | "e2cm";

/** One forward pass over the training pictures, as they are, and the closed form. */
export async function fitClassMeans(
  { device, network, train, normalisation }: Material,
  method: ClassMeansMethod,
  progress: Progress | null,
): Promise<FittedExits> {
  const { model } = network.folded;
  const stream =
    progress === null
      ? batches(train, PASS_BATCH, normalisation)
      : counted(progress, `${method}: one forward pass`, train, PASS_BATCH, normalisation);
  const metric = method === "e2cm" ? "sharedCovariance" : "euclidean";
  const statistics = await accumulateStatistics(model, stream, { classes: network.classes, metric, device });
  return solveExits(model, statistics, { metric, device });
}

/** Class means at the given taps alone, for the distances that "E²CM + SDN" feeds to its exits. */
export async function meansAt(
  { device, network, train, normalisation }: Material,
  taps: readonly string[],
  metric: FittedExit["metric"],
): Promise<readonly FittedExit[]> {
  const { model } = network.folded;
  const statistics = await accumulateStatistics(model, batches(train, PASS_BATCH, normalisation), {
    classes: network.classes,
    metric,
    exits: taps,
    device,
  });
  return (await solveExits(model, statistics, { metric, device })).exits;
}
