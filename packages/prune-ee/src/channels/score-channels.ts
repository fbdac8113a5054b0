import { type Device, describeModel, type Generator, InputError, parseOptions, type training } from "@exitkit/core-gpu";
import { type ExitNetwork, type ExitParameters, toExitModel } from "@exitkit/early-exit";
import { z } from "zod";
import { type Criterion, checkCriterion } from "../criteria/criterion.ts";
import { prunableWeights } from "../masks/weights.ts";
import type { WeightScores } from "./importance.ts";

/** Options of {@link scoreChannels}. */
export interface ScoreChannelsOptions {
  readonly params: ExitParameters;
  /** E.g. `criteria.taylor()`. */
  readonly criterion: Criterion;
  /** Seeded; draws the samples. */
  readonly random: Generator;
  /** `[e]`: weight of each exit's loss, the last exit's last. Default: 1 for every exit. */
  readonly lossWeights?: readonly number[];
}

const caller = "prune-ee.scoreChannels";
const object = z.custom<object>((value) => typeof value === "object" && value !== null, "must be an object");
const schema = z.strictObject({
  params: object,
  criterion: object,
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.permutation === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
  lossWeights: z.array(z.number().min(0)).readonly().optional(),
});

/**
 * A criterion's scores for {@link pruneChannels} of `toExitModel(network, params).model`: one an element of each weight, by the names
 * that weights have there. A channel's importance is then the root of the mean over all elements that go with it.
 *
 * @param data Samples `x`, as the backbone's input, and `y` int64 [n].
 * @throws InputError on an option that is unknown or out of range, parameters that are not the network's or not finite, or as the criterion.
 */
export async function scoreChannels(
  device: Device,
  network: ExitNetwork,
  data: training.Dataset,
  options: ScoreChannelsOptions,
): Promise<WeightScores> {
  if (typeof network?.apply !== "function") {
    throw new InputError(caller, "an exit network is needed", typeof network, "Pass what exitNetwork gave.");
  }
  if (typeof data?.batch !== "function") {
    throw new InputError(caller, "a dataset is needed", typeof data, "Pass e.g. training.tensorDataset({ x, y }).");
  }
  const { lossWeights = [...network.exits.map(() => 1), 1] } = parseOptions(caller, schema, options);
  const { params, criterion, random } = options;
  checkCriterion(caller, criterion);
  const weights = prunableWeights(caller, network, params, "all");
  const scores = await criterion.score({ device, network, params, weights, trains: "all", data, lossWeights, random });
  const names = new Set(describeModel(toExitModel(network, params).model).initializers.map(({ name }) => name));
  return Object.fromEntries([...scores].map(([path, { data }]) => [nameOf(network, path, names), data]));
}

/** What a parameter is called in the network's graph. */
function nameOf(network: ExitNetwork, path: string, names: ReadonlySet<string>): string {
  const [part, ...rest] = path.split(".");
  const [at, ...own] = rest;
  const candidates =
    part === "exits"
      ? [`${network.exits[Number(at)]!.name}/params.${own.join(".")}`]
      : [rest.join("."), `params.${rest.join(".")}`];
  const found = candidates.find((name) => names.has(name));
  if (found !== undefined) return found;
  throw new InputError(caller, `"${path}" must be a weight of the network's graph`, "no weight of that name");
}
