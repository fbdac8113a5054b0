import { checkArguments, optimisers } from "@exitkit/core-gpu";
import type { ExitCosts } from "../costs/cost.ts";
import { relativeCost } from "../training/loss-weights.ts";
import type { ExitMethod } from "./method.ts";

/**
 * BranchyNet: backbone and exits trained together, each exit's loss weighted by its share of the cost; a sample leaves
 * where the entropy of the exit's output is low; the last exit answers the rest.
 *
 * Source: Teerapittayanon, McDanel, Kung, BranchyNet (2016), [arXiv 1709.01686](https://arxiv.org/abs/1709.01686); weights
 * as in the E²CM authors' script, Adam its refactor's default [S]; learning rate 0.001, Adam's usual one [?].
 * Differs: the rule is `1 − entropy ÷ ln k > threshold`, the same order as `entropy < T`.
 */
export function branchyNet(costs: ExitCosts): ExitMethod {
  checkArguments("early-exit.branchyNet", { costs: [costs, { exits: "a list", full: "a number" }] });
  return {
    training: {
      trains: "all",
      lossWeights: relativeCost(costs),
      optimiser: optimisers.adam(),
      learningRate: 0.001,
    },
    rule: { confidence: "normalisedEntropy", whenNoneIsSure: "last" },
  };
}
