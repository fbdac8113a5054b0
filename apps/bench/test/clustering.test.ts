import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Device, generator, openDevice } from "@exitkit/core-gpu";
import { agreementFrontier, fitAgreement } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../src/cli.ts";
import type { Pictures } from "../src/data/pictures.ts";
import { clusterPictures } from "../src/experiments/e2cm-clustering/cluster.ts";
import { agreeing, foldsOf, outcome, withinCost } from "../src/experiments/e2cm-clustering/curve.ts";
import { clusterExits, clusterModel } from "../src/experiments/e2cm-clustering/exits.ts";
import { meansOf, savingOf } from "../src/experiments/e2cm-clustering/means.ts";
import { BUDGETS, measureRun } from "../src/experiments/e2cm-clustering/measure.ts";
import { paperRows } from "../src/experiments/e2cm-clustering/paper.ts";
import { FULL_RECIPE, type Recipe } from "../src/experiments/e2cm-clustering/recipe.ts";
import { sampleOrder } from "../src/experiments/e2cm-clustering/rounds.ts";
import { openRun } from "../src/runs/run.ts";
import { type Progress, SILENT } from "../src/terminal/progress.ts";
import { memory, temporaryFolder } from "./helpers.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const CLASSES = 4;

/** 8×8 pictures: a bright square in one of four corners, with noise. For mechanics, not for claims. */
function corners(n: number, seed: number): Pictures {
  const random = generator(seed);
  const labels = Int32Array.from({ length: n }, (_, row) => row % CLASSES);
  const pixels = Uint8Array.from({ length: n * 64 }, (_, at) => {
    const [row, y, x] = [Math.floor(at / 64), Math.floor((at % 64) / 8), at % 8];
    const inside = Math.floor(y / 4) * 2 + Math.floor(x / 4) === labels[row];
    return (inside ? 180 : 30) + random.integer(60);
  });
  return { n, shape: [1, 8, 8], pixels, labels };
}

const train = corners(320, 1);
const test = corners(200, 2);
const recipe: Recipe = {
  ...FULL_RECIPE,
  layers: [32, 32, 48, 4],
  clusters: CLASSES,
  batch: 32,
  learningRate: 3e-3,
  pretrainingEpochs: 20,
  kmeansStarts: 5,
  kmeansSample: 200,
  updateEvery: 7,
  mostUpdates: 4,
  tolerance: 0,
};

async function subjectIn(folder: string, progress: Progress = SILENT, seed = 4) {
  const run = await openRun(folder, { test: "clustering" }, SILENT);
  return { name: "corners-run1", seed, device, recipe, train, test, run, progress };
}

/** Progress that fails at the n-th step forward. */
function failing(after: number): Progress {
  let left = after;
  const advance = () => {
    if (--left < 0) throw new Error("pulled the plug");
  };
  return { ...SILENT, stage: () => ({ advance, done: () => {} }) };
}

describe("clusterPictures", () => {
  it("finds the corners, and gives the same bits after interruptions in every phase", async () => {
    const [whole, broken] = [join(await temporaryFolder(), "run"), join(await temporaryFolder(), "run")];
    const first = await clusterPictures(await subjectIn(whole));
    // 200 steps of the autoencoder, of which 70 survive the first; a step forward for every update, whether trained or read.
    for (const after of [75, 131, 2]) {
      await expect(clusterPictures(await subjectIn(broken, failing(after)))).rejects.toThrow("pulled the plug");
    }
    const second = await clusterPictures(await subjectIn(broken));
    const timeless = ({ seconds: _, cpuSeconds: __, ...rest }: typeof first) => rest;
    expect(timeless(second)).toEqual(timeless(first));

    expect(first.losses).toHaveLength(20);
    expect(first.losses.at(-1)).toBeLessThan(first.losses[0]!);
    expect(first.updates.map(({ steps }) => steps)).toEqual([0, 7, 14, 21, 28]);
    expect(first.updates[0]!.changed).toBe(1);
    expect(first.settled).toBe(false);
    expect(first.kmeans.accuracy).toBe(1);
    expect(first.updates.at(-1)).toMatchObject({ accuracy: 1, ari: 1 });
    const lines = (await readFile(join(whole, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines).toHaveLength(5);
  }, 60_000);

  it("ends when no cluster changes, and another seed gives another network", async () => {
    const subject = await subjectIn(join(await temporaryFolder(), "run"));
    const settled = await clusterPictures({ ...subject, recipe: { ...recipe, tolerance: 0.01 } });
    expect(settled.settled).toBe(true);
    expect(settled.updates.length).toBeLessThan(5);
    const other = await clusterPictures(await subjectIn(join(await temporaryFolder(), "run"), SILENT, 5));
    expect(other.network.centres.data).not.toEqual(settled.network.centres.data);
  }, 60_000);
});

describe("sampleOrder", () => {
  it("shows every sample once a turn, wherever one begins to look", () => {
    const order = sampleOrder(50, generator(1));
    const turn = (from: number) => Array.from({ length: 50 }, (_, at) => order(from + at));
    const later = sampleOrder(50, generator(1));
    expect(Array.from({ length: 50 }, (_, at) => later(100 + at))).toEqual(turn(100));
    expect(new Set(turn(0)).size).toBe(50);
    expect(turn(0)).not.toEqual(turn(50));
  });
});

describe("exits by cluster means", () => {
  it("have the means that the weights give, are exact at both ends, and run in stages as replayed", async () => {
    const subject = await subjectIn(join(await temporaryFolder(), "run"));
    const clustered = await clusterPictures(subject);
    const model = clusterModel(clustered.network);
    const { fitted, record } = await clusterExits(subject, clustered, model);
    expect(fitted.exits.map(({ tap, map }) => [tap, map.d])).toEqual([
      ["layer1", 32],
      ["layer2", 32],
      ["layer3", 48],
    ]);

    // Cluster means of the first layer in float64, from the weights themselves.
    const { weight, bias } = clustered.network.encoder[0]!;
    const layer1 = (row: number) =>
      Array.from({ length: 32 }, (_, unit) => {
        let sum = Number(bias.data[unit]);
        for (let i = 0; i < 64; i++) sum += (Number(weight.data[unit * 64 + i]) * train.pixels[row * 64 + i]!) / 255;
        return Math.max(0, sum);
      });
    const means = Array.from({ length: CLASSES }, () => new Float64Array(32));
    const counts = new Float64Array(CLASSES);
    for (let row = 0; row < train.n; row++) {
      counts[clustered.labels[row]!]! += 1;
      layer1(row).forEach((value, unit) => {
        means[clustered.labels[row]!]![unit]! += value;
      });
    }
    const [exit] = fitted.exits;
    means.forEach((sums, cluster) => {
      sums.forEach((sum, unit) => {
        expect((exit as { means: Float32Array }).means[cluster * 32 + unit]).toBeCloseTo(sum / counts[cluster]!, 5);
      });
    });

    // Costs: layers up to the tap, and k·(3d − 1)/2 for each exit that was asked.
    const layersMacs = [64 * 32, 32 * 32, 32 * 48, 48 * 4];
    const overhead = [32, 32, 48].map((d) => (CLASSES * (3 * d - 1)) / 2);
    let [backbone, asked] = [0, 0];
    for (const [index, macs] of layersMacs.slice(0, 3).entries()) {
      backbone += macs;
      asked += overhead[index]!;
      expect(fitted.costs.exits[index]).toBeCloseTo(backbone + asked, 6);
    }
    expect(fitted.costs.full).toBe(backbone + layersMacs[3]!);

    const folds = foldsOf(record, fitted.costs);
    const mapping = Int32Array.from({ length: CLASSES }, (_, cluster) => {
      const row = clustered.labels.indexOf(cluster);
      return train.labels[row]!;
    });
    const faithful = outcome(folds, fitted.costs, agreeing(1), test.labels, mapping);
    expect(faithful).toMatchObject({ agreement: 1, accuracy: 1 });
    const cheapest = outcome(folds, fitted.costs, withinCost(0), test.labels, mapping);
    expect(cheapest.shares).toEqual([1, 0, 0, 0]);
    expect(cheapest.macsFraction).toBeCloseTo(fitted.costs.exits[0]! / fitted.costs.full, 12);
    // The record knows no class: its labels are the full network's own answers.
    expect(record.labels).toEqual(record.predictions.at(-1));
    const halfPoints = agreementFrontier(folds[1].report, fitted.costs, fitAgreement(folds[1].report), {
      resolution: 0,
    });
    expect(folds[0].points).toEqual(halfPoints);
  }, 60_000);

  it("are measured in rows that the means and the paper's table are made of", async () => {
    const subject = await subjectIn(join(await temporaryFolder(), "run"));
    const { run, rows } = await measureRun(subject, "Fashion-MNIST", 1);
    expect(rows).toHaveLength(BUDGETS.length + 1);
    expect(run.staged).toMatchObject({ pictures: 100, differences: 0 });
    expect(run.full.accuracy).toBe(1);
    expect(run.perExit.map(({ exit }) => exit)).toEqual(["layer1", "layer2", "layer3"]);
    const plain = rows.at(-1)!;
    expect(plain).toMatchObject({ budget: null, macsFraction: 1, agreement: 1, accuracy: 1, shares: [0, 0, 0, 1] });
    for (const { shares } of rows) expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
  }, 60_000);
});

describe("bench run e2cm-clustering", () => {
  it("without Fashion-MNIST says how to bring it, and refuses fewer pictures than a batch", async () => {
    const data = await temporaryFolder();
    const bench = async (...args: string[]) => {
      const [stdout, stderr] = [memory(), memory()];
      const out = ["--data", data, "--out", join(await temporaryFolder(), "run")];
      const code = await runCli(["run", "e2cm-clustering", "--device", "cpu", ...args, ...out], stdout, stderr);
      return { code, stderr: stderr.text() };
    };
    const missing = await bench();
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("bench data fashion-mnist");
    expect((await bench("--pictures", "255")).stderr).toContain("--pictures must be at least 256");
  });
});

describe("means over runs", () => {
  const row = (run: number, budget: number | null, macsFraction: number, accuracy: number) => ({
    ...{ dataset: "Fashion-MNIST", run, budget, macsFraction, accuracy },
    ...{ nmi: 0.5, ari: 0.4, agreement: 0.9, shares: [] },
  });
  const rows = [
    row(1, 0.235, 0.24, 0.5),
    row(1, 0.376, 0.37, 0.595),
    row(1, null, 1, 0.6),
    row(2, 0.235, 0.26, 0.54),
    row(2, 0.376, 0.36, 0.605),
    row(2, null, 1, 0.62),
  ];

  it("are means, deviations and the cheapest point within a point", () => {
    const means = meansOf(rows);
    expect(means.map(({ budget, runs }) => [budget, runs])).toEqual([
      [0.235, 2],
      [0.376, 2],
      [null, 2],
    ]);
    expect(means[0]).toMatchObject({ accuracy: expect.closeTo(0.52, 12), macsFraction: expect.closeTo(0.25, 12) });
    expect(means[0]!.deviation).toBeCloseTo(0.04 / Math.sqrt(2), 12);
    expect(meansOf(rows.slice(0, 1))[0]).not.toHaveProperty("deviation");
    expect(savingOf(means)).toEqual([{ dataset: "Fashion-MNIST", fullAccuracy: means[2]!.accuracy, point: means[1] }]);
    expect(savingOf(means.filter(({ budget }) => budget !== 0.376))[0]!.point).toBeNull();
  });

  it("are set beside the paper's, which says what was not measured", () => {
    const paper = paperRows(meansOf(rows), ["Fashion-MNIST"]);
    expect(paper).toHaveLength(8);
    expect(paper[0]).toMatchObject({ paper: 0.565, status: "below by 4.5 points" });
    expect(paper[1]).toMatchObject({
      paper: 0.578,
      measured: { accuracy: expect.closeTo(0.6, 12) },
      status: "reached",
    });
    expect(paper[2]).toMatchObject({ macsFraction: 0.6, measured: null, status: "not measured" });
    expect(paper[3]).toMatchObject({ macsFraction: 1, status: "reached" });
    expect(paperRows(meansOf(rows), [])[0]).toMatchObject({ status: "only a part of the pictures" });
    expect(paper.slice(4).every(({ dataset, status }) => dataset === "MNIST" && status === "not measured")).toBe(true);
  });
});
