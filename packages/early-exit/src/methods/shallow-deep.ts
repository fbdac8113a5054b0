import { optimisers, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { costShares, type ExitCosts } from "../costs/cost.ts";
import { constant, ramp } from "../training/loss-weights.ts";
import type { TrainExitsOptions } from "../training/train-exits.ts";
import type { ExitMethod } from "./method.ts";

/** Options of {@link shallowDeep}. */
export interface ShallowDeepOptions {
  /** `exits`: "IC-only training"; `all`: "SDN training". */
  readonly trains: TrainExitsOptions["trains"];
  /** Costs of the exits; their number, and where the weights of joint training end. */
  readonly costs: ExitCosts;
}

const optionsSchema = z.strictObject({
  trains: z.enum(["exits", "all"]),
  costs: z.custom<ExitCosts>((value) => Array.isArray((value as Partial<ExitCosts> | null)?.exits), "must be costs"),
});

/**
 * Shallow-Deep Networks: a sample leaves at the first exit whose largest probability is high; where none is sure the most
 * confident exit answers. Heads are `heads.mixedPool()` at about 15, 30, 45, 60, 75 and 90 % of the cost.
 *
 * `exits`: the backbone is frozen, the loss is the sum of the early exits', Adam with learning rate 0.001 (there over 25
 * epochs, a tenth of it after 15). `all`: SGD with momentum 0.9, weight decay 10⁻⁴, learning rate 0.1 (there over 100
 * epochs, a tenth each time after 35, 60 and 85); an early exit's weight grows from 0.01 to its share of the cost, which is
 * what the authors' constants .15 to .9 are [D].
 *
 * @throws InputError on an option that is unknown or out of range.
 * Source: Kaya, Hong, Dumitraş, Shallow-Deep Networks (ICML 2019) [S: the authors' code].
 * Differs: leaving needs a probability strictly above the threshold, there at least as high. The frozen backbone keeps its
 * running statistics, which there go on moving. Learning rates are constant here: pass a schedule for theirs. Adam has no weight
 * decay here where the exits are trained alone; there it has 10⁻⁴ (ResNet, MobileNet) or 5·10⁻⁴ (VGG, Wide ResNet).
 */
export function shallowDeep(options: ShallowDeepOptions): ExitMethod {
  const { trains, costs } = parseOptions("early-exit.shallowDeep", optionsSchema, options);
  const early = costShares(costs);
  const rule = { confidence: "maxProbability", whenNoneIsSure: "mostConfident" } as const;
  if (trains === "exits") {
    const lossWeights = constant([...early.map(() => 1), 0]);
    return { training: { trains, lossWeights, optimiser: optimisers.adam(), learningRate: 0.001 }, rule };
  }
  const optimiser = optimisers.sgd({ momentum: 0.9, weightDecay: 1e-4 });
  return {
    training: { trains, lossWeights: ramp({ targets: early }), optimiser, learningRate: 0.1 },
    rule,
  };
}
