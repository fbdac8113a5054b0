import type { RivalsResult } from "../src/experiments/e2cm-rivals/schema.ts";
import { common } from "./report-samples.ts";

/* Invented results that look like real ones, as those of report-samples.ts. */

const ONE = ["e2cm", "e2cm-euclidean", "sdn", "sdn-joint", "branchynet", "e2cm-places"] as const;
const MANY = ["sdn", "e2cm-sdn", "e2cm-sdn-shared"] as const;
const SETS = ["cifar10", "cifar100"] as const;

/** An invented result of e2cm-rivals. */
export function sampleRivals(seeds = 2): RivalsResult {
  const of = (methods: readonly string[], budget: string) =>
    SETS.flatMap((dataset) =>
      methods.flatMap((method, at) =>
        Array.from({ length: method.startsWith("e2cm") && budget === "one epoch" ? 1 : seeds }, (_, index) => ({
          dataset,
          method,
          budget,
          seed: method.startsWith("e2cm") && budget === "one epoch" ? null : index + 1,
          skill:
            (method === "e2cm-places" ? 0.92 : 0.9 - 0.08 * at) - 0.004 * index - (dataset === "cifar100" ? 0.4 : 0),
        })),
      ),
    );
  const runs = [...of(ONE, "one epoch"), ...of(MANY, "unlimited")];
  const points = runs.map(({ skill: _, ...point }) => point);
  return {
    experiment: "e2cm-rivals",
    ...common("e2cm-rivals", 1),
    datasets: SETS.map((dataset) => ({
      dataset,
      name: dataset === "cifar10" ? "CIFAR-10" : "CIFAR-100 subset",
      complete: dataset === "cifar10",
      train: dataset === "cifar10" ? 50_000 : 15_000,
      test: dataset === "cifar10" ? 10_000 : 5000,
      network: dataset === "cifar10" ? "resnet56" : "resnet20",
      macs: dataset === "cifar10" ? 125_485_696 : 40_817_792,
      accuracy: dataset === "cifar10" ? 0.9339 : 0.51,
      trained: dataset === "cifar10" ? null : { epochs: 30, seconds: 750 },
      files: [{ name: `${dataset}.bin`, sha256: "b".repeat(64) }],
    })),
    settings: { epochs: 5, batch: 128, seeds, timedLoss: 0.01, timedFraction: 0.5 },
    rows: runs.flatMap(({ skill, ...point }) =>
      Array.from({ length: 17 }, (_, index) => ({
        ...point,
        askedFraction: (index + 3) / 20,
        macsFraction: (index + 3) / 20 - 0.003,
        accuracy: skill * (1 - Math.exp(-(index + 2) / 3)),
        wallFraction: null,
      })),
    ),
    within: points.flatMap((point) =>
      [0.005, 0.01].map((wantedLoss) =>
        point.method === "branchynet"
          ? { ...point, wantedLoss, macsFraction: null, accuracy: null }
          : { ...point, wantedLoss, macsFraction: 0.7 - 10 * wantedLoss, accuracy: 0.9 },
      ),
    ),
    perExit: runs.flatMap(({ skill, ...point }) =>
      [0, 1, 2].map((exit) => ({
        ...point,
        exit,
        macsFraction: 0.3 * (exit + 1),
        accuracy: Math.max(0, skill - 0.1 * (2 - exit)),
      })),
    ),
    training: points.map((point, index) => ({
      ...point,
      epochs: point.budget === "unlimited" ? 5 : 1,
      seconds: index === 3 ? null : 70 + 20 * index,
    })),
    diverged: [{ dataset: "cifar10", method: "sdn-joint", budget: "one epoch", seed: 9, epochs: 1, step: 63 }],
    memory: SETS.flatMap((dataset) =>
      ["plain", ...ONE, "e2cm-sdn"].map((method, index) => ({ dataset, method, bytes: (200 + 40 * index) * 2 ** 20 })),
    ),
    wall: points
      .filter(({ seed }) => seed === null || seed === 1)
      .flatMap((point) => (["loss", "cost"] as const).map((asked) => ({ ...point, asked })))
      .map((point) => ({
        ...point,
        batch: 64,
        pictures: 2048,
        within: point.asked === "cost" || point.method !== "branchynet",
        macsFraction: point.asked === "cost" ? 0.49 : 0.61,
        accuracy: 0.925,
        fullAccuracy: 0.934,
        wallFraction: 0.66,
        plainMs: 120,
        stagedMs: 79,
        runs: 5,
      })),
    poster: {
      fractions: [0.15, 0.2, 0.25, 0.3],
      paper: [
        { method: "e2cm-sdn", accuracies: [0.824, 0.864, 0.885, 0.888] },
        { method: "bwds", accuracies: [0.82, 0.841, 0.86, 0.877] },
      ],
    },
    figure: [
      {
        dataset: "cifar10",
        network: "ResNet-152",
        method: "sdn",
        points: [
          [0.16, 0.36],
          [1, 0.89],
        ],
      },
    ],
    claims: [
      {
        dataset: "cifar10",
        paper: "one pass is ahead",
        measured: "80.1 % against 60.2 %",
        status: "as the paper says",
      },
      { dataset: "cifar100", paper: "distances help", measured: "gains of −0.4 points", status: "otherwise" },
      { dataset: "kmnist", paper: "far ahead", measured: "KMNIST was not there", status: "not attempted" },
    ],
  };
}
