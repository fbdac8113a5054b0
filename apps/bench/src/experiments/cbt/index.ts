import { experiment } from "../experiment.ts";
import { check, keep, measured, report, summary } from "./report.ts";
import { run, type Settings } from "./run.ts";
import { schema } from "./schema.ts";

const singles = [0.9, 0.99, 0.998, 0.9998, 0.99999];
const ranges: Settings["ranges"] = [
  [0.9, 0.998],
  [0.99, 0.998],
  [0.998, 0.99999],
];

/** Segmentation that stops pixel by pixel. */
export const cbt = experiment({
  name: "cbt",
  title: "Segmentation that stops pixel by pixel, a threshold for every class",
  about:
    "A pretrained ESPNet on CamVid with exits without training: one threshold, class based thresholds and solved ones, in mean " +
    "IoU, MACs and time; where each pixel stopped. The quick preset has twenty frames, the full one reads camvid in --data.",
  heading: "Segmentation",
  reads: [],
  presets: {
    quick: {
      whole: false,
      steps: [1, 1],
      singles: [0.9, 0.998, 0.99999],
      ranges: ranges.slice(0, 2),
      losses: [0.01],
      timed: 2,
      timing: { budget: 2000, leastRounds: 3, mostRounds: 5 },
      pictures: 3,
    },
    full: {
      whole: true,
      steps: [4, 6],
      singles,
      ranges,
      losses: [0.005, 0.02],
      timed: 8,
      timing: { budget: 60_000, leastRounds: 5, mostRounds: 15 },
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
