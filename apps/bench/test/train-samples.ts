import { generator } from "@exitkit/core-gpu";
import type { TrainCifar10Result } from "../src/experiments/train-cifar10/schema.ts";
import { common } from "./report-samples.ts";

/* Invented results that look like real ones, as those of report-samples.ts. */

/** An invented result of train-cifar10. */
export function sampleTrainCifar10(seeds = 3, epochs = 12): TrainCifar10Result {
  const random = generator(7);
  const curve = Array.from({ length: seeds * epochs }, (_, at) => {
    const [seed, epoch] = [1 + Math.floor(at / epochs), 1 + (at % epochs)];
    const learned = 1 - Math.exp(-epoch / 3.5);
    const noise = (random.uniform() - 0.5) * (1 - epoch / epochs) * 0.1;
    return {
      seed,
      epoch,
      learningRate: 0.2 * Math.max(0.00001, Math.sin((Math.PI * epoch) / epochs)),
      trainLoss: 2.2 - 1.9 * learned,
      trainAccuracy: 0.15 + 0.76 * learned,
      testLoss: 2.1 - 1.75 * learned - noise,
      testAccuracy: 0.2 + 0.71 * learned + noise,
      seconds: 232 + 6 * random.uniform(),
    };
  });
  const rows = Array.from({ length: seeds }, (_, index) => {
    const last = curve[(index + 1) * epochs - 1]!;
    return {
      network: "resnet20",
      seed: index + 1,
      pictures: 50_000,
      epochs,
      steps: 390 * epochs,
      trainLoss: last.trainLoss,
      testLoss: last.testLoss,
      testAccuracy: last.testAccuracy,
      seconds: 234 * epochs,
      imagesPerSecond: 213,
    };
  });
  const accuracies = rows.map((row) => row.testAccuracy);
  return {
    experiment: "train-cifar10",
    ...common("train-cifar10", 1),
    ranOn: "cpu",
    data: {
      name: "CIFAR-10",
      complete: true,
      train: 50_000,
      test: 10_000,
      files: [{ name: "data_batch_1.bin", sha256: "a".repeat(64) }],
    },
    recipe: { epochs, batch: 128, peakLearningRate: 0.2, warmUp: 0.2, momentum: 0.9, weightDecay: 5e-4 },
    rows,
    curve,
    ...(seeds < 2
      ? {}
      : {
          spread: {
            seeds,
            mean: accuracies.reduce((sum, one) => sum + one, 0) / seeds,
            deviation: 0.0021,
            least: Math.min(...accuracies),
            most: Math.max(...accuracies),
          },
        }),
  };
}

/** An invented result of train-step. */
export function sampleTrainStep() {
  const models = [
    { model: "resnet20", batch: 128, stepMs: 512, flops: 31.1, unit: "pictures" },
    { model: "resnet56", batch: 128, stepMs: 1490, flops: 96.4, unit: "pictures" },
    { model: "vit", batch: 64, stepMs: 730, flops: 69.1, unit: "pictures" },
    { model: "decoder", batch: 4, stepMs: 805, flops: 64.4, unit: "sequences" },
  ];
  return {
    experiment: "train-step",
    ...common("train-step", 1),
    rows: models.map(({ model, batch, stepMs, flops, unit }) => ({
      model,
      batch,
      device: "cpu",
      imagesPerSecond: (1000 * batch) / stepMs,
      gflops: (1000 * flops) / stepMs,
      unit,
      stepMs,
      compileSeconds: 1.3,
      runs: 40,
    })),
  };
}
