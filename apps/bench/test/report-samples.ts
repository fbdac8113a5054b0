import { generator } from "@exitkit/core-gpu";
import { PNG } from "pngjs";
import type { E2cmCifar10Result } from "../src/experiments/e2cm-cifar10/schema.ts";
import type { OverheadResult } from "../src/experiments/staged-overhead/schema.ts";

/*
 * Invented results that look like real ones, for looking at the report and for its tests. They measure nothing and are
 * never shipped.
 */

const CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split(" ");

const NETWORKS = [
  { backbone: "resnet20", blocks: 9, macs: 40_800_000, accuracy: 0.9217 },
  { backbone: "resnet56", blocks: 27, macs: 125_700_000, accuracy: 0.9437 },
] as const;

/** How many points each method loses at half of the cost. */
const METHODS = [
  { metric: "euclidean", rule: "normalised", loss: 0.16 },
  { metric: "euclidean", rule: "raw", loss: 0.19 },
  { metric: "euclidean", rule: "perSampleMaximum", loss: 0.135 },
  { metric: "sharedCovariance", rule: "posterior", loss: 0.035 },
] as const;

const VARIANTS = [
  { variant: "full", extra: 0, share: 0.031 },
  { variant: "moments", extra: 0, share: 0.031 },
  { variant: "pooled4x4", extra: 0.012, share: 0.004 },
  { variant: "int8", extra: 0.002, share: 0.016 },
] as const;

export const common = (experiment: string, seed: number) => ({
  preset: "full",
  seed,
  device: "cpu",
  config: { experiment, preset: "full", seed, device: "cpu", data: "CIFAR-10, complete" },
  environment: {
    time: "2026-01-02T03:04:05.678Z",
    node: "v20.20.2",
    os: "Linux 6.1.0 x64",
    cpu: "Sample CPU @ 2.00GHz",
    cores: 2,
    memoryGiB: 7.8,
    loadAverage: [0.31, 0.52, 0.48],
    onnxruntime: "1.30.0",
    packages: { "@exitkit/core-gpu": "0.1.0", "@exitkit/early-exit": "0.1.0", "@exitkit/e2cm": "0.1.0" },
    git: { sha: "0123456789abcdef0123456789abcdef01234567", dirty: false },
  },
});

const hash = (letter: string) => letter.repeat(64);

/** Asked of the points of a curve that are asked for something; of dearer ones less. */
const WANTED: Readonly<Record<number, number>> = { 9: 0.01, 10: 0.005, 11: 0.003, 12: 0.002 };

/** An invented result of e2cm-cifar10. */
export function sampleE2cm(seed = 1): E2cmCifar10Result {
  const random = generator(seed);
  const noise = (scale: number) => (random.uniform() - 0.5) * scale;
  const choices = ["guarded", "aimed", "paper"] as const;
  const rows = NETWORKS.flatMap(({ backbone, accuracy }) =>
    choices.flatMap((choice) =>
      METHODS.flatMap(({ metric, rule, loss }) =>
        VARIANTS.filter(({ variant }) => variant === "full" || rule === "posterior" || rule === "normalised").flatMap(
          ({ variant, extra, share }) =>
            Array.from({ length: 14 }, (_, index) => {
              const cost = 0.08 + (0.92 + share) * (index / 13) ** 0.8;
              const lost = index === 13 ? 0 : (loss + extra) * Math.max(0, (1 - cost) / 0.5) ** 2.4;
              return {
                backbone,
                metric,
                rule,
                variant,
                choice,
                macsFraction: cost,
                accuracy: Math.max(
                  0.24,
                  accuracy - lost * (choice === "paper" ? 1.15 : 1) + (lost === 0 ? 0 : noise(0.004)),
                ),
                wantedLoss: WANTED[index] ?? null,
                shares: sharesOf(4, 1 - cost / 1.05, () => random.uniform()),
              };
            }),
        ),
      ),
    ),
  );
  const metrics = ["euclidean", "sharedCovariance"];
  const exits = (blocks: number) => Array.from({ length: blocks }, (_, index) => index + 1);
  const atDepth = (metric: string, part: number, accuracy: number) =>
    metric === "euclidean" ? 0.24 + (accuracy - 0.24) * part ** 1.9 : 0.36 + (accuracy - 0.36) * part ** 0.85;
  return {
    experiment: "e2cm-cifar10",
    ...common("e2cm-cifar10", seed),
    data: {
      name: "CIFAR-10",
      train: 50_000,
      test: 10_000,
      files: ["data_batch_1.bin", "test_batch.bin"].map((name, index) => ({
        name,
        sha256: hash(index === 0 ? "a" : "b"),
      })),
    },
    weights: NETWORKS.map(({ backbone }, index) => ({
      backbone,
      file: `${backbone}.safetensors`,
      sha256: hash(index === 0 ? "c" : "d"),
    })),
    classNames: CLASSES,
    backbones: NETWORKS.map(({ backbone, macs, accuracy }) => ({ backbone, macs, accuracy, testPictures: 10_000 })),
    perExit: NETWORKS.flatMap(({ backbone, blocks, accuracy }) =>
      metrics.flatMap((metric) =>
        exits(blocks).map((depth) => ({
          backbone,
          metric,
          variant: "full",
          exit: `block${depth}`,
          depth,
          macsFraction: depth / (blocks + 0.5),
          accuracy: atDepth(metric, depth / blocks, accuracy - 0.004) + noise(0.015),
        })),
      ),
    ),
    confusion: metrics.flatMap((metric) =>
      [1, 5, 10, 14, 18, 21, 24, 27].map((depth) => ({
        backbone: "resnet56",
        metric,
        exit: `block${depth}`,
        depth,
        matrix: confusion(atDepth(metric, depth / 27, 0.94), () => random.uniform()),
      })),
    ),
    rows,
    exitNames: [...exits(27).map((depth) => `block${depth}`), "full"],
    halvings: NETWORKS.flatMap(({ backbone }) =>
      metrics.flatMap((metric) =>
        [0.005, 0.01].map((asked) => {
          const outcome = (failed: number, lost: number) => ({ failed, lost, macsFraction: 0.8 - 9 * lost, idle: 0 });
          const [guarded, aimed] = [outcome(14, 0.4 * asked), outcome(97, 1.04 * asked)];
          return { backbone, metric, variant: "moments", asked, halvings: 200, delta: 0.1, guarded, aimed };
        }),
      ),
    ),
    wall: NETWORKS.flatMap(({ backbone, accuracy: fullAccuracy }) =>
      [1, 16, 64].map((batch) => {
        const [macsFraction, wallFraction] = [0.73, 0.75 + (batch === 1 ? 0.09 : 0.6 / batch) + noise(0.001)];
        const plainMs = (backbone === "resnet20" ? 0.9 : 2.4) * batch ** 0.93;
        const pictures = batch === 64 ? 4992 : 512;
        return {
          backbone,
          metric: "sharedCovariance",
          batch,
          pictures,
          macsFraction,
          wallFraction,
          wallRange: [wallFraction - 0.01, wallFraction + 0.02] as const,
          accuracy: fullAccuracy - 0.003,
          fullAccuracy,
          lostPictures: Math.round(0.007 * pictures),
          gainedPictures: Math.round(0.004 * pictures),
          wantedLoss: 0.005,
          plainMs,
          stagedMs: plainMs * wallFraction,
          runs: 5,
        };
      }),
    ),
    fit: NETWORKS.flatMap(({ backbone }) =>
      metrics.map((metric) => {
        const plain = backbone === "resnet20" ? 1840 : 640;
        const fitted = plain * (metric === "euclidean" ? 0.93 : 0.71);
        return {
          backbone,
          metric,
          pictures: 45_000,
          fitPicturesPerSecond: fitted,
          plainPicturesPerSecond: plain,
          ratio: plain / fitted,
        };
      }),
    ),
    overhead: NETWORKS.flatMap(({ backbone }) =>
      metrics.flatMap((metric) =>
        VARIANTS.map(({ variant, share }) => ({ backbone, metric, variant, share, exits: 3, wallShare: 0.1 })),
      ),
    ),
    examples: {
      first: Array.from({ length: 10 }, (_, index) =>
        picture(index, index, "block4", 0.9 + random.uniform() / 10, () => random.uniform()),
      ),
      last: Array.from({ length: 10 }, (_, index) =>
        picture(index, index % 3 === 0 ? (index + 2) % 10 : index, "full", 0.3 + random.uniform() / 2, () =>
          random.uniform(),
        ),
      ),
    },
  };
}

/** An invented result of staged-overhead. */
export function sampleStaged(seed = 1): OverheadResult {
  const random = generator(seed);
  const scenarios = [
    { scenario: "no exits", macsFraction: 1 },
    { scenario: "half leave at each exit", macsFraction: 0.58 },
    { scenario: "all leave first", macsFraction: 0.33 },
  ];
  return {
    experiment: "staged-overhead",
    ...common("staged-overhead", seed),
    rows: ["resnet20", "resnet56"].flatMap((backbone) =>
      [1, 16, 64].flatMap((batch) =>
        scenarios.map(({ scenario, macsFraction }) => {
          const wallFraction =
            macsFraction +
            (batch === 1 ? 0.07 : 0.03) * (backbone === "resnet20" ? 1.6 : 0.7) +
            (random.uniform() - 0.5) * 0.03;
          const plainMs = (backbone === "resnet20" ? 0.9 : 2.4) * batch ** 0.93;
          return {
            backbone,
            batch,
            scenario,
            macsFraction,
            wallFraction,
            plainMs,
            stagedMs: plainMs * wallFraction,
            runs: 25,
            plainQuartiles: [plainMs, plainMs] as const,
            stagedQuartiles: [plainMs * wallFraction, plainMs * wallFraction] as const,
            cuts: 2,
            rowsPerStage: [],
            load: 0.1,
            msPerCut: (plainMs * (wallFraction - macsFraction)) / 2,
          };
        }),
      ),
    ),
  };
}

/** Shares that sum to 1; the last exit keeps what does not leave. */
function sharesOf(exits: number, leaving: number, uniform: () => number): number[] {
  const weights = Array.from({ length: exits - 1 }, (_, index) =>
    index < exits * 0.35 ? 0 : uniform() ** 2 + (index % 9 === 8 ? 1 : 0),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const left = Math.min(0.95, Math.max(0, leaving * 1.9));
  return [...weights.map((weight) => (left * weight) / total), 1 - left];
}

function confusion(accuracy: number, uniform: () => number): number[][] {
  const animal = (index: number) => index >= 2 && index <= 7;
  return CLASSES.map((_, truth) => {
    const weights = CLASSES.map((__, other) =>
      other === truth ? 0 : uniform() * (animal(truth) === animal(other) ? 3 : 0.6),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const wrong = weights.map((weight) => Math.round((1000 * (1 - accuracy) * weight) / total));
    return wrong.map((count, other) => (other === truth ? 1000 - wrong.reduce((sum, each) => sum + each, 0) : count));
  });
}

/** A 32×32 picture of a coloured blob before a gradient. */
function picture(label: number, predicted: number, exit: string, confidence: number, uniform: () => number) {
  const png = new PNG({ width: 32, height: 32 });
  const colors = Array.from({ length: 6 }, () => uniform() * 255);
  const [centreX, centreY, radius] = [10 + uniform() * 12, 10 + uniform() * 12, 5 + uniform() * 7];
  for (let at = 0; at < 1024; at++) {
    const [x, y] = [at % 32, at >> 5];
    const inside = Math.hypot(x - centreX, y - centreY) < radius ? 0 : 3;
    for (let channel = 0; channel < 3; channel++) {
      png.data[at * 4 + channel] = Math.min(255, colors[inside + channel]! * (0.7 + (y / 32) * 0.3) + uniform() * 25);
    }
    png.data[at * 4 + 3] = 255;
  }
  return { png: `data:image/png;base64,${PNG.sync.write(png).toString("base64")}`, label, predicted, exit, confidence };
}
