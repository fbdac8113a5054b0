import { accumulateStatistics, type Batches, type FittedExit, type FittedExits, solveExits } from "@exitkit/e2cm";
import { batches } from "../../data/batches.ts";
import { counted, PASS_BATCH } from "../../measuring/counted.ts";
import type { Progress } from "../../terminal/progress.ts";
import { type Material, SDN_PLACES, tapsWithin } from "./network.ts";

/** E²CM: the paper's form, the package's default, and the default with exits where Shallow-Deep Networks have them. */
export type ClassMeansMethod = "e2cm-euclidean" | "e2cm" | "e2cm-places";

const METRICS: Readonly<Record<ClassMeansMethod, FittedExit["metric"]>> = {
  "e2cm-euclidean": "euclidean",
  e2cm: "sharedCovariance",
  "e2cm-places": "sharedCovariance",
};

/** Whether a method is fitted by one pass. */
export function isClassMeans(method: string): method is ClassMeansMethod {
  return Object.hasOwn(METRICS, method);
}

/** One forward pass over the training pictures, as they are, and the closed form. */
export async function fitClassMeans(
  material: Material,
  method: ClassMeansMethod,
  progress: Progress | null,
): Promise<FittedExits> {
  const { network, train, normalisation } = material;
  const stream =
    progress === null
      ? batches(train, PASS_BATCH, normalisation)
      : counted(progress, `${method}: one forward pass`, train, PASS_BATCH, normalisation);
  const taps = method === "e2cm-places" ? tapsWithin(network, SDN_PLACES) : undefined;
  return onePass(material, stream, METRICS[method], taps);
}

/** Class means at the given taps alone, for the distances that "E²CM + SDN" feeds to its exits. */
export async function meansAt(
  material: Material,
  taps: readonly string[],
  metric: FittedExit["metric"],
): Promise<readonly FittedExit[]> {
  const { train, normalisation } = material;
  return (await onePass(material, batches(train, PASS_BATCH, normalisation), metric, taps)).exits;
}

async function onePass(
  { device, network }: Material,
  stream: Batches,
  metric: FittedExit["metric"],
  taps?: readonly string[],
): Promise<FittedExits> {
  const { model } = network.folded;
  const places = taps === undefined ? {} : { taps };
  const statistics = await accumulateStatistics(model, stream, { classes: network.classes, metric, ...places, device });
  return solveExits(model, statistics, { metric, device });
}
