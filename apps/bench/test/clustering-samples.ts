import { generator } from "@exitkit/core-gpu";
import { meansOf, savingOf } from "../src/experiments/e2cm-clustering/means.ts";
import { BUDGETS } from "../src/experiments/e2cm-clustering/measure.ts";
import { paperRows } from "../src/experiments/e2cm-clustering/paper.ts";
import type { ClusteringResult } from "../src/experiments/e2cm-clustering/schema.ts";
import { common } from "./report-samples.ts";

/* Invented results that look like real ones, as those of report-samples.ts. */

/** An invented result of e2cm-clustering. */
export function sampleClustering(runs = 10): ClusteringResult {
  const random = generator(9);
  const dataset = "Fashion-MNIST";
  const seeds = Array.from({ length: runs }, (_, index) => index + 1);
  const perRun = seeds.map((run) => {
    const [full, dent] = [0.56 + 0.05 * (random.uniform() - 0.5), 0.01 + 0.02 * random.uniform()];
    const at = (macsFraction: number) => {
      const agreement = 1 - 0.3 * Math.exp(-(macsFraction - 0.24) / 0.15);
      const accuracy = full - dent * Math.exp(-(macsFraction - 0.24) / 0.15) + 0.002 * (random.uniform() - 0.5);
      return {
        macsFraction,
        agreement,
        shares: [0.5, 0.3, 0.1, 0.1],
        accuracy,
        nmi: accuracy + 0.02,
        ari: accuracy - 0.12,
      };
    };
    const rows = BUDGETS.map((budget) => ({ dataset, run, budget, ...at(Math.max(0.2405, budget - 0.003)) }));
    const plain = { dataset, run, budget: null, ...at(1), agreement: 1, shares: [0, 0, 0, 1] };
    const quality = (accuracy: number) => ({ accuracy, nmi: accuracy + 0.02, ari: accuracy - 0.12 });
    return {
      rows: [...rows, plain],
      run: {
        dataset,
        run,
        seed: run,
        full: quality(full),
        kmeans: quality(full - 0.01),
        train: quality(full + 0.002),
        steps: 1400,
        settled: run === 3,
        perExit: [0.2405, 0.395, 1.016].map((macsFraction, index) => ({
          exit: `layer${index + 1}`,
          macsFraction,
          ...quality(full - dent / (1 + 3 * index)),
        })),
        faithful: at(0.62),
        staged: { pictures: 5000, early: 0.71, differences: 0 },
      },
    };
  });
  const rows = perRun.flatMap((one) => one.rows);
  const means = meansOf(rows);
  return {
    experiment: "e2cm-clustering",
    ...common("e2cm-clustering", 1),
    ranOn: "cpu",
    data: [
      {
        name: dataset,
        complete: true,
        train: 60_000,
        test: 10_000,
        files: [{ name: "train-images-idx3-ubyte", sha256: "0".repeat(64) }],
      },
    ],
    recipe: { layers: [500, 500, 2000, 10], clusters: 10, pretrainingEpochs: 8 },
    rows,
    runs: perRun.map((one) => one.run),
    means: [...means],
    saving: [...savingOf(means)],
    paper: [...paperRows(means, [dataset])],
  };
}
