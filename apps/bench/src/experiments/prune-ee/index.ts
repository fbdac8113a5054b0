import { experiment } from "../experiment.ts";
import { EPOCHS, MINUTES, names, PICTURES, positiveNumber, REDUCED, type RunOption, SEEDS } from "../options.ts";
import { check } from "./check.ts";
import { keep, measured, readme, report, summary } from "./report.ts";
import { run } from "./run.ts";
import { schema } from "./schema.ts";
import { FULL, QUICK } from "./settings.ts";

const ROUNDS: RunOption = {
  flags: "--rounds <number>",
  about: "as many zeros in so many rounds of pruning",
  parse: positiveNumber,
};
const ORDERS_OPTION: RunOption = {
  flags: "--orders <names>",
  about: "of together, sequential, exitsFirst and random, with commas between",
  parse: names,
};
const NETWORK: RunOption = { flags: "--network <name>", about: "another pretrained ResNet", parse: (text) => text };

/** In which order to prune a backbone and its exits, and what is felt of it. */
export const pruneEe = experiment({
  name: "prune-ee",
  title: "In which order to prune a network and its exits, and what is felt of it",
  about:
    "A pretrained ResNet with Shallow-Deep exits, pruned by magnitude round by round: backbone and exits together, the backbone " +
    "first, the exits first, at random; accuracy of every exit, sparsity of every layer. And whole channels removed: time beside MACs.",
  heading: "Pruning",
  takes: [SEEDS, PICTURES, EPOCHS, MINUTES, REDUCED, ROUNDS, ORDERS_OPTION, NETWORK],
  reads: ["cifar10"],
  presets: { quick: QUICK, full: FULL },
  schema,
  run,
  summary,
  report,
  measured,
  readme,
  keep,
  check,
});
