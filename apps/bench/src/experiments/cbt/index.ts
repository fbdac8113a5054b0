import { InvalidArgumentError } from "commander";
import { experiment } from "../experiment.ts";
import type { RunOption } from "../options.ts";
import { check, keep, measured, report, summary } from "./report.ts";
import { KNOWN, run, type Settings } from "./run.ts";
import { schema } from "./schema.ts";

const NETWORKS: RunOption = {
  flags: "--segmenters <names>",
  about: '"compact HR", "ESPNet" or both, joined by a comma',
  parse(text) {
    const names = text.split(",").map((name) => name.trim());
    if (names.every((name) => (KNOWN as readonly string[]).includes(name))) return names;
    throw new InvalidArgumentError(`Networks are ${KNOWN.join(" and ")}.`);
  },
};

const singles = [0.5, 0.6, 0.7, 0.8, 0.9, 0.98];
const ranges: Settings["ranges"] = [
  [0.9, 0.998],
  [0.7, 0.95],
  [0.5, 0.9],
];

/** Segmentation that stops pixel by pixel. */
export const cbt = experiment({
  name: "cbt",
  title: "Segmentation that stops pixel by pixel, a threshold for every class",
  about:
    "A compact network that was trained for it, and a pretrained ESPNet with exits without training, on CamVid: one threshold, class " +
    "based thresholds and solved ones, in mean IoU, MACs and time; where each pixel stopped. The quick preset has twenty frames and " +
    "the compact network, the full one reads camvid in --data.",
  heading: "Segmentation",
  takes: [NETWORKS],
  presets: {
    quick: {
      whole: false,
      steps: [1, 1],
      networks: ["compact HR"],
      singles: [0.6, 0.9],
      ranges: ranges.slice(0, 2),
      losses: [0.005],
      changed: null,
      timed: 4,
      timing: { budget: 2000, leastRounds: 3, mostRounds: 15 },
      pictures: 3,
    },
    full: {
      whole: true,
      steps: [4, 6],
      networks: KNOWN,
      singles,
      ranges,
      losses: [0.002, 0.005],
      changed: 0.05,
      timed: 8,
      timing: { budget: 20_000, leastRounds: 5, mostRounds: 25 },
      pictures: 3,
    },
  },
  schema,
  run,
  summary,
  report,
  measured,
  keep,
  check,
});
