import { accumulateStatistics, type FittedExit, type FittedExits, solveExits } from "@exitkit/e2cm";
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
  const taps = method === "e2cm-places" ? tapsWithin(material.network, SDN_PLACES) : undefined;
  return onePass(material, METRICS[method], taps, progress === null ? null : [progress, method]);
}

/** Class means at the given taps alone, for the distances that "E²CM + SDN" feeds to its exits. */
export async function meansAt(
  material: Material,
  taps: readonly string[],
  metric: FittedExit["metric"],
): Promise<readonly FittedExit[]> {
  return (await onePass(material, metric, taps, null)).exits;
}

async function onePass(
  { device, network, train, normalisation }: Material,
  metric: FittedExit["metric"],
  taps: readonly string[] | undefined,
  shown: readonly [Progress, ClassMeansMethod] | null,
): Promise<FittedExits> {
  const { model } = network.folded;
  const stream =
    shown === null
      ? batches(train, PASS_BATCH, normalisation)
      : counted(shown[0], `${shown[1]}: one forward pass`, train, PASS_BATCH, normalisation);
  const places = taps === undefined ? {} : { taps };
  const statistics = await accumulateStatistics(model, stream, { classes: network.classes, metric, ...places, device });
  return solveExits(model, statistics, { metric, device });
}
