import { type Device, InputError } from "@exitkit/core-gpu";
import { featureMap } from "../network/features.ts";
import { type Network, sampleShape } from "../network/network.ts";
import { type ClassStatistics, checkEveryClassSeen } from "../statistics/statistics.ts";
import { type ClassMeans, classMeans } from "./class-means.ts";
import type { FittedExit, SharedCovarianceExit } from "./exits.ts";
import { type Shrinkage, solveSharedCovariance } from "./shared-covariance.ts";

/** What distance decides: plain Euclidean (the paper), or one that knows how the features vary together. */
export type Metric = "euclidean" | "sharedCovariance";

/**
 * Exits from statistics, in closed form, one for each tap.
 *
 * @param shrinkages Shared covariance only: one set of exits is returned for each.
 * @param onSolved Called after every exit with how many are solved.
 * @throws InputError when a class has no sample.
 */
export async function closedFormExits(
  caller: string,
  device: Device,
  network: Network,
  statistics: ClassStatistics,
  metric: Metric,
  shrinkages: readonly Shrinkage[] = ["analytic"],
  onSolved?: (exits: number) => void,
): Promise<readonly (readonly FittedExit[])[]> {
  checkEveryClassSeen(caller, statistics.counts);
  const maps = statistics.exits.map(({ tap, d }) => {
    const map = featureMap(statistics.features, sampleShape(caller, network, tap), { caller, tap });
    if (map.d === d) return map;
    throw new InputError(caller, `statistics of ${map.d} features at "${tap}"`, `${d}`, "Accumulate them again.");
  });
  if (metric === "euclidean") {
    return [
      statistics.exits.map((exit, index) => ({
        metric,
        tap: exit.tap,
        map: maps[index]!,
        ...checkedMeans(caller, statistics, exit),
      })),
    ];
  }
  const solved: SharedCovarianceExit[][] = shrinkages.map(() => []);
  for (const [index, exit] of statistics.exits.entries()) {
    checkedMeans(caller, statistics, exit);
    const linear = await solveSharedCovariance(caller, device, statistics, exit, shrinkages);
    linear.forEach((layer, variant) => {
      solved[variant]!.push({ metric, tap: exit.tap, map: maps[index]!, ...layer });
    });
    onSolved?.(index + 1);
  }
  return solved;
}

/** Squares of what is smaller are 0 in float32. */
const SMALLEST = 1e-18;

/**
 * Class means, refused where no sample can be told from another by their features: all are the same, so that distances are 0 and
 * nothing can be normalised by them, or so small that their squares are.
 */
function checkedMeans(caller: string, statistics: ClassStatistics, exit: ClassStatistics["exits"][number]): ClassMeans {
  const means = classMeans(statistics, exit);
  const largest = Math.sqrt(means.meanSquare ?? 0);
  const expectation = `training samples must differ in what is read at "${exit.tap}"`;
  const mean = means.means.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (mean > 0 && Math.max(mean, largest) < SMALLEST) {
    const actual = `features around ${mean.toExponential(0)}, whose squares are 0 in float32`;
    throw new InputError(caller, expectation, actual, "Scale them in the network, or name other tensors: taps.");
  }
  if (!means.distances.includes(0)) return means;
  const fix = "Check how they are decoded and normalised, or name other tensors: taps.";
  throw new InputError(caller, expectation, "the same features, all at one class mean", fix);
}
