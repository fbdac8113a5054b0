import type { OpenWorldResult } from "../src/experiments/open-world/schema.ts";
import { common } from "./report-samples.ts";

/** An invented result of open-world. */
export function sampleOpenWorld(): OpenWorldResult {
  const backbone = "resnet20";
  const exits = ["block2", "block7", "full network"];
  const place = (exit: string, index: number) => ({ backbone, exit, macsFraction: [0.25, 0.78, 1.01][index]! });
  const hash = "a".repeat(64);
  return {
    experiment: "open-world",
    ...common("open-world", 1),
    data: { name: "CIFAR-10", train: 50_000, test: 10_000, files: [{ name: "train.bin", sha256: hash }] },
    unknown: {
      name: "CIFAR-100 subset",
      kinds: [
        { kind: "far", pictures: 3500 },
        { kind: "near", pictures: 1450 },
      ],
      files: [{ name: "test_5000.bin", sha256: hash }],
    },
    weights: [{ backbone, file: "resnet20.safetensors", sha256: hash }],
    settings: {
      heldOutPictures: 10_000,
      seeds: 2,
      draws: 3,
      quantile: 0.95,
      wantedLoss: 0.02,
      unseen: { seeds: 1, pictures: 20_000, epochs: 8 },
    },
    heldOut: [
      { seed: 1, classes: ["cat", "ship"] },
      { seed: 2, classes: ["dog", "frog"] },
    ],
    unseen: [{ seed: 1, classes: ["cat", "ship"], accuracy: 0.8 }],
    rows: ["CIFAR-100, far", "held out", "held out, unseen"].flatMap((unknown) =>
      ["euclidean", "sharedCovariance"].flatMap((metric, at) =>
        exits.flatMap((exit, index) =>
          ["novelty", "maxProbability"].map((score, which) => ({
            ...place(exit, index),
            unknown,
            metric,
            score,
            auroc: 0.5 + 0.1 * index + 0.05 * at + 0.08 * which,
            ...(unknown === "held out" ? { deviation: 0.01 } : {}),
          })),
        ),
      ),
    ),
    rejection: [null, "distance", "probability"].map((by) => ({
      backbone,
      metric: "sharedCovariance",
      at: by === null ? "none" : "leaving",
      by,
      quantile: 0.95,
      accuracy: 0.9,
      answeredAccuracy: 0.91,
      falseRejections: by === null ? 0 : 0.041,
      macsFraction: 0.76,
      leaving: exits.map((exit, index) => ({ exit, share: [0.25, 0.35, 0.4][index]! })),
      unknown: ["far", "near"].map((kind) => ({
        kind,
        rejected: by === "probability" ? 0.31 : 0.12,
        macsFraction: 0.98,
      })),
    })),
    online: ["held out", "held out, unseen"].flatMap((unknown) =>
      [1, 10, null].flatMap((samples) =>
        exits.flatMap((exit, index) =>
          ["raw", "normalised"].map((predictFrom) => ({
            ...place(exit, index),
            unknown,
            samples,
            predictFrom,
            old: { mean: 0.9, deviation: 0.01 },
            before: unknown === "held out" ? { mean: 0.92, deviation: 0.01 } : { mean: 0.81 },
            fresh: { mean: unknown === "held out" ? (samples === 1 ? 0.8 : 0.925) : 0.325, deviation: 0.02 },
            seeds: unknown === "held out" ? 2 : 1,
            draws: samples === null ? 1 : 3,
          })),
        ),
      ),
    ),
  };
}
