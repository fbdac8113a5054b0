import { accumulateStatistics, type FittedExit, type FittedExits, solveExits } from "@exitkit/e2cm";
import { batches } from "../../data/batches.ts";
import type { Progress } from "../../terminal/progress.ts";
import { counted, PASS_BATCH } from "../e2cm/network.ts";
import { type Material, SDN_PLACES, tapsWithin } from "./network.ts";

/** E²CM: the paper's form, the package's default, and the default with exits where Shallow-Deep Networks have them. */
export type ClassMeansMethod = "e2cm-euclidean" | "e2cm" | "e2cm-places";

const METHODS: readonly string[] = ["e2cm-euclidean", "e2cm", "e2cm-places"] satisfies readonly ClassMeansMethod[];

/** Whether a method is fitted by one pass. */
export function isClassMeans(method: string): method is ClassMeansMethod {
  return METHODS.includes(method);
}

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
  const metric = method === "e2cm-euclidean" ? "euclidean" : "sharedCovariance";
  const statistics = await accumulateStatistics(model, stream, {
    classes: network.classes,
    metric,
    ...(method === "e2cm-places" ? { exits: tapsWithin(network, SDN_PLACES) } : {}),
    device,
  });
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
