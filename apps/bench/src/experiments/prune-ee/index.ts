import type { Pretrained } from "../../zoo/resnet.ts";
import { experiment } from "../experiment.ts";
import { EPOCHS, PICTURES, SEEDS } from "../options.ts";
import { check } from "./check.ts";
import { measured, readme, report, summary } from "./report.ts";
import { run } from "./run.ts";
import { type Order, schema } from "./schema.ts";

/** What a preset decides. */
export interface Settings {
  readonly network: Pretrained;
  /** Of the training pictures, the first ones: one epoch of a round's fine-tuning. */
  readonly pictures: number;
  readonly seeds: number;
  readonly rounds: number;
  readonly fraction: number;
  readonly epochs: number;
  /** Epochs that the exits are trained for on the frozen network before anything is pruned. */
  readonly exitEpochs: number;
  readonly orders: readonly Exclude<Order, "dense">[];
  /** Whose channels are removed; smaller plain networks of the zoo stand beside it. */
  readonly channelNetwork: Pretrained;
  /** Shares of the channels that stay. */
  readonly keep: readonly number[];
  /** Epochs after channels were removed. */
  readonly channelEpochs: number;
}

/** In which order to prune a backbone and its exits, and what is felt of it. */
export const pruneEe = experiment({
  name: "prune-ee",
  title: "In which order to prune a network and its exits, and what is felt of it",
  about:
    "A pretrained ResNet with Shallow-Deep exits, pruned by magnitude round by round: backbone and exits together, the backbone " +
    "first, the exits first, at random; accuracy of every exit, sparsity of every layer. And whole channels removed: time beside MACs.",
  heading: "Pruning",
  takes: [SEEDS, PICTURES, EPOCHS],
  presets: {
    quick: {
      network: "resnet20",
      pictures: 640,
      seeds: 1,
      rounds: 3,
      fraction: 0.3,
      epochs: 1,
      exitEpochs: 6,
      orders: ["together", "sequential"],
      channelNetwork: "resnet20",
      keep: [0.5],
      channelEpochs: 1,
    },
    full: {
      network: "resnet20",
      pictures: 10_000,
      seeds: 5,
      rounds: 20,
      fraction: 0.1,
      epochs: 1,
      exitEpochs: 5,
      orders: ["together", "sequential", "exitsFirst", "random"],
      channelNetwork: "resnet56",
      keep: [0.75, 0.5],
      channelEpochs: 5,
    },
  } satisfies Record<string, Settings>,
  schema,
  run,
  summary,
  report,
  measured,
  readme,
  check,
});
