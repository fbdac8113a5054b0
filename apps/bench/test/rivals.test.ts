import { join } from "node:path";
import { type Device, generator, layers, openDevice, optimisers, spec, trace } from "@exitkit/core-gpu";
import {
  agreementFrontier,
  classMeansOverhead,
  confidenceOf,
  type ExitCosts,
  type ExitNetwork,
  type ExitParameters,
  type ExitRecord,
  exitNetwork,
  fitAgreement,
  heads,
  importBackbone,
  NEVER,
  openStaged,
  predictionOf,
  recordExits,
  toExitModel,
  trainExits,
} from "@exitkit/early-exit";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { renderReport } from "../src/commands/report.ts";
import { augmentedPictures } from "../src/data/augment.ts";
import { oneBatch } from "../src/data/batches.ts";
import { type Dataset, openDataset } from "../src/data/directory.ts";
import { type Pictures, slicePictures } from "../src/data/pictures.ts";
import { cifar10 } from "../src/data/sets/index.ts";
import { openDataSource } from "../src/data/source.ts";
import type { Candidate } from "../src/experiments/e2cm-rivals/candidate.ts";
import { accuraciesAt, claimsOf } from "../src/experiments/e2cm-rivals/claims.ts";
import { fitClassMeans, meansAt } from "../src/experiments/e2cm-rivals/class-means.ts";
import { chosenDatasets } from "../src/experiments/e2cm-rivals/datasets.ts";
import { trainedCandidates } from "../src/experiments/e2cm-rivals/fit.ts";
import { bothWays, frontierRows, mostAccurate, withinRows } from "../src/experiments/e2cm-rivals/frontiers.ts";
import { e2cmRivals, rivals } from "../src/experiments/e2cm-rivals/index.ts";
import { peakMemory } from "../src/experiments/e2cm-rivals/memory.ts";
import { rivalNetwork, SDN_PLACES, tapsWithin } from "../src/experiments/e2cm-rivals/network.ts";
import { prepare } from "../src/experiments/e2cm-rivals/prepare.ts";
import type { RivalRow, RivalsResult } from "../src/experiments/e2cm-rivals/schema.ts";
import { type RivalSettings, SETTINGS } from "../src/experiments/e2cm-rivals/settings.ts";
import { apart, together } from "../src/experiments/e2cm-rivals/together.ts";
import { DISTANCES, tapsOf, trainedRival } from "../src/experiments/e2cm-rivals/trained.ts";
import type { Context } from "../src/experiments/experiment.ts";
import { checkResult } from "../src/experiments/result.ts";
import { foldRecords } from "../src/measuring/halves.ts";
import type { Table } from "../src/report/table.ts";
import { openRun } from "../src/runs/run.ts";
import { createProgress, SILENT } from "../src/terminal/progress.ts";
import { readWeights } from "../src/zoo/weights.ts";
import { HOOK } from "./child.ts";
import { memory, temporaryFolder } from "./helpers.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** The measured child runs the TypeScript sources too. */
const OPTIONS = `--conditions=source --import=${HOOK}`;
const before = { data: process.env.EXITKIT_DATA, options: process.env.NODE_OPTIONS };
beforeEach(() => {
  delete process.env.EXITKIT_DATA;
  process.env.NODE_OPTIONS = OPTIONS;
});
afterEach(() => {
  for (const [name, value] of [
    ["EXITKIT_DATA", before.data],
    ["NODE_OPTIONS", before.options],
  ] as const) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

/** Twelve by twelve pixels: four bright corners, one for each class, in noise. */
function corners(n: number, seed: number): Pictures {
  const random = generator(seed);
  const labels = Int32Array.from({ length: n }, (_, row) => row % 4);
  const pixels = Uint8Array.from({ length: n * 144 }, (_, at) => {
    const [y, x] = [Math.floor((at % 144) / 12), at % 12];
    const corner = 2 * Number(y >= 6) + Number(x >= 6);
    return random.integer(120) + (corner === labels[Math.floor(at / 144)] ? 100 : 0);
  });
  return { n, shape: [1, 12, 12], pixels, labels };
}

const DATA: Dataset = {
  name: "corners",
  about: "corners",
  complete: true,
  classNames: ["a", "b", "c", "d"],
  normalisation: { mean: [0.4], deviation: [0.25] },
  augmentation: { padding: 1, mirror: false },
  train: corners(256, 1),
  test: corners(160, 2),
  files: [{ name: "corners", sha256: "c".repeat(64) }],
};

const recipe = { ...SETTINGS.quick.recipes.mnist, epochs: 3, batch: 32, peakLearningRate: 0.05 };
const TINY: RivalSettings = {
  ...SETTINGS.quick,
  recipes: { ...SETTINGS.quick.recipes, mnist: recipe },
  epochs: 2,
  batch: 32,
  depth: 8,
  memory: ["plain", "e2cm-sdn-shared"],
  rounds: 1,
  timedPictures: 64,
};

async function context(folder: string, extras: Context["extras"] = {}, progress = SILENT): Promise<Context> {
  return {
    preset: "quick",
    seed: 1,
    device: "cpu",
    extras: { datasets: ["mnist"], ...extras },
    data: { ...openDataSource(undefined, SILENT), mnist: () => Promise.resolve(DATA) },
    run: await openRun(folder, { test: "rivals" }, progress),
    progress,
  };
}

describe("e2cm-rivals", () => {
  it("compares all methods, gives what the report reads, and goes on where it stopped", async () => {
    const folder = join(await temporaryFolder(), "run");
    const values = await rivals(await context(folder, { seeds: 2 }), TINY);
    const named = { experiment: "e2cm-rivals", preset: "quick", seed: 1, device: "cpu" };
    const result = checkResult(e2cmRivals, { ...named, ...values }) as RivalsResult;
    const settings = result.wall.filter(({ asked }) => asked === "loss");
    const methods = settings.map(({ method, budget }) => `${method}, ${budget}`);
    expect(result.diverged).toEqual([]);
    expect(methods).toEqual([
      "e2cm, one epoch",
      "e2cm-places, one epoch",
      "e2cm-euclidean, one epoch",
      "sdn, one epoch",
      "bwds, one epoch",
      "sdn-joint, one epoch",
      "branchynet, one epoch",
      "sdn, unlimited",
      "bwds, unlimited",
      "e2cm-sdn, unlimited",
      "e2cm-sdn-shared, unlimited",
    ]);
    const [about] = result.datasets;
    expect(about).toMatchObject({ dataset: "mnist", network: "resnet8", train: 256, test: 160 });
    expect(about!.accuracy).toBeGreaterThan(0.6);
    for (const row of result.rows) {
      expect(Object.keys(row)).toEqual(
        expect.arrayContaining(["dataset", "method", "budget", "macsFraction", "accuracy", "wallFraction"]),
      );
      expect(row.wallFraction === null).toBe(row.askedFraction !== null);
    }
    const sdn = result.perExit.filter(({ method }) => method === "sdn");
    const full = Math.max(...sdn.map(({ exit }) => exit));
    expect(full).toBeGreaterThan(0);
    // Frozen: the last exit is the plain network with every seed and budget.
    const last = sdn.filter(({ exit }) => exit === full).map(({ accuracy }) => accuracy);
    expect(last).toEqual(Array.from({ length: 4 }, () => about!.accuracy));
    const seed = [1, 1, 1, 1, 2, 2, 2, 2];
    expect(result.training.map(({ epochs }) => epochs)).toEqual([1, 1, 1, ...seed, ...seed]);
    expect(result.memory.map(({ method }) => method)).toEqual(TINY.memory);
    // The sources are translated in the process, which takes memory of its own.
    for (const { bytes } of result.memory) expect(bytes).toBeGreaterThan(50 * 2 ** 20);
    expect(result.claims.map(({ dataset }) => dataset)).toEqual([
      "mnist",
      "mnist",
      "mnist",
      "mnist",
      "cifar10",
      "kmnist",
    ]);
    expect(renderReport([result])).not.toMatch(/NaN|undefined|Infinity|\[object/);
    const [frontier] = [e2cmRivals.summary(result).table].flat() as readonly Table[];
    expect(frontier!.body).toHaveLength(11);

    const stderr = memory();
    const again = await rivals(await context(folder, { seeds: 2 }, createProgress(stderr)), TINY);
    expect(JSON.parse(JSON.stringify(again))).toEqual(JSON.parse(JSON.stringify(values)));
    expect(stderr.text()).toMatch(/\d\d finished steps are reused/);
    expect(stderr.text()).not.toMatch(/training: \d/);
  }, 120_000);
});

describe("peak memory", () => {
  it("is the fitting process's own, whatever the one that started it holds", async () => {
    const ballast = Buffer.alloc(768 * 2 ** 20, 1);
    const { weights } = await readWeights("resnet20-12fca82f");
    const job = { method: "plain", device: "cpu", depth: 20, batch: 4, shape: [3, 32, 32] } as const;
    const pictures: Pictures = { n: 4, shape: job.shape, pixels: new Uint8Array(4 * 3072), labels: new Int32Array(4) };
    const { augmentation } = DATA;
    const normalisation = { mean: [0, 0, 0], deviation: [1, 1, 1] };
    const bytes = await peakMemory({ ...job, normalisation, augmentation }, weights, pictures, await temporaryFolder());
    expect(bytes).toBeGreaterThan(50 * 2 ** 20);
    expect(bytes).toBeLessThan(ballast.length / 2);
  }, 60_000);
});

describe("a training that diverges", () => {
  it("is a result: the step, and no exits", async () => {
    const folder = join(await temporaryFolder(), "run");
    const given = await context(folder);
    const subject = await prepare(given, device, { name: "mnist", data: DATA }, TINY);
    // Activations overflow.
    const normalisation = { mean: [0.4], deviation: [1e-38] };
    const broken = { ...subject, material: { ...subject.material, normalisation } };
    const plan = { budget: "one epoch", seed: 1, epochs: 1 } as const;
    const made = await trainedCandidates(given, broken, ["sdn-joint"], plan);
    expect(made).toEqual([{ method: "sdn-joint", ...plan, step: 0 }]);
  }, 60_000);
});

describe("exits that are trained together", () => {
  it("become what they become alone", async () => {
    const given = await context(join(await temporaryFolder(), "run"));
    const { material } = await prepare(given, device, { name: "mnist", data: DATA }, TINY);
    const rivals = [await trainedRival(material, "sdn")];
    for (const method of ["e2cm-sdn", "e2cm-sdn-shared"] as const) {
      const means = await meansAt(material, tapsOf(material.network, method), DISTANCES[method]);
      rivals.push(await trainedRival(material, method, means));
    }
    const networks = rivals.map(({ network }) => network);
    const first = networks.map((network, at) => network.init(generator(10 + at)));
    const train = (network: ExitNetwork, params: ExitParameters) =>
      trainExits(device, network, augmentedPictures(DATA.train, DATA.normalisation, DATA.augmentation), {
        trains: "exits",
        params,
        batchSize: 32,
        epochs: 2,
        generator: generator(3),
        optimiser: optimisers.adam(),
        learningRate: 0.01,
      });
    const both = await train(together(networks), { ...first[0]!, exits: first.flatMap(({ exits }) => exits) });
    const each = apart(networks, both.params);
    for (const [at, network] of networks.entries()) {
      const alone = layers.flattenParameters((await train(network, first[at]!)).params);
      const beside = layers.flattenParameters(each[at]!);
      expect(Object.keys(beside)).toEqual(Object.keys(alone));
      for (const [path, { data }] of Object.entries(alone)) {
        for (const [index, value] of data.entries()) expect(beside[path]!.data[index]).toBeCloseTo(Number(value), 4);
      }
    }
    expect(() => together(networks).apply({} as never, {} as never, { trains: "all" })).toThrow("frozen");
  }, 60_000);
});

describe("distances as further inputs", () => {
  it("cost what E²CM's own exits at the same places cost, and their part of the linear layer", async () => {
    const given = await context(join(await temporaryFolder(), "run"));
    const { material } = await prepare(given, device, { name: "mnist", data: DATA }, TINY);
    const { network } = material;
    const plain = (await trainedRival(material, "sdn")).costs.exits;
    const k = network.classes;
    const own = (await fitClassMeans(material, "e2cm-places", null)).costs.exits;
    const macs = (tap: string) => network.macs * network.places.find((place) => place.tap === tap)!.fraction;
    for (const method of ["e2cm-sdn", "e2cm-sdn-shared"] as const) {
      const taps = tapsOf(network, method);
      const means = await meansAt(material, taps, DISTANCES[method]);
      const { exits } = (await trainedRival(material, method, means)).costs;
      let added = 0;
      for (const [j, exit] of means.entries()) {
        added += k * k;
        if (exit.metric === "euclidean") added += classMeansOverhead(k, exit.map.d).macs;
        const byE2cm = exit.metric === "euclidean" ? 0 : own[j]! - macs(taps[j]!);
        expect(exits[j]! - plain[j]!).toBeCloseTo(added + byE2cm, 3);
      }
    }
  }, 60_000);
});

describe("places of exits", () => {
  it("never lie behind their share of the compute", async () => {
    for (const [depth, file, taps] of [
      [20, "resnet20-12fca82f", 6],
      [56, "resnet56-4bfd9763", 6],
    ] as const) {
      const network = await rivalNetwork(device, depth, (await readWeights(file)).weights, [3, 32, 32]);
      expect(network.places.map(({ fraction }) => fraction)).toEqual(
        [...network.places.map(({ fraction }) => fraction)].sort((a, b) => a - b),
      );
      const found = tapsWithin(network, SDN_PLACES);
      expect(found).toHaveLength(taps);
      found.forEach((tap, index) => {
        const at = network.places.findIndex((place) => place.tap === tap);
        expect(network.places[at]!.fraction).toBeLessThanOrEqual(SDN_PLACES[index]!);
        expect(network.places[at + 1]!.fraction).toBeGreaterThan(SDN_PLACES[index]!);
      });
      // No place is cheap enough: the first block.
      expect(tapsWithin(network, [0.0001, 0.001])).toEqual(["block1"]);
    }
  });

  it("the network of other pictures answers as it was trained", async () => {
    const random = generator(4);
    const { weights } = await readWeights("resnet20-12fca82f");
    const conv1 = weights["conv1.weight"]!;
    const grey = { ...conv1, shape: [16, 1, 3, 3], data: (conv1.data as Float32Array).slice(0, 144) } as typeof conv1;
    const network = await rivalNetwork(device, 20, { ...weights, "conv1.weight": grey }, [1, 28, 28]);
    const pictures: Pictures = {
      n: 3,
      shape: [1, 28, 28],
      pixels: Uint8Array.from({ length: 3 * 784 }, () => random.integer(256)),
      labels: new Int32Array(3),
    };
    const { x } = oneBatch(pictures, { mean: [0.3], deviation: [0.3] });
    const answers = await Promise.all(
      [network.folded, network.whole].map(async ({ model }) => {
        const session = await device.load(model);
        const { logits } = await session.run({ input: x });
        await session.release();
        return [...(logits!.data as Float32Array)];
      }),
    );
    answers[0]!.forEach((value, at) => {
      expect(value).toBeCloseTo(answers[1]![at]!, 3);
    });
  });
});

/** A made-up candidate: the first exit is right about samples it is sure of, the last about nearly all. */
function candidate(n: number, seed: number): Candidate {
  const random = generator(seed);
  const labels = Int32Array.from({ length: n }, () => random.integer(5));
  const sure = Float32Array.from({ length: n }, () => random.uniform());
  const wrong = (label: number) => (label + 1) % 5;
  const record: ExitRecord = {
    exits: ["exit1", "full"],
    n,
    labels,
    confidences: [sure, Float32Array.from({ length: n }, () => 0.9)],
    predictions: [
      labels.map((label, row) => (random.uniform() < sure[row]! ? label : wrong(label))),
      labels.map((label) => (random.uniform() < 0.95 ? label : wrong(label))),
    ],
  };
  const costs: ExitCosts = { exits: [30, 101], full: 100 };
  const open = () => Promise.reject(new Error("not run"));
  return { method: "sdn", budget: "one epoch", seed, epochs: 1, seconds: 1, costs, record, own: record, open };
}

describe("frontiers", () => {
  it("are more accurate the more may be computed, and begin where a method can be so cheap", () => {
    const own = candidate(4000, 3);
    const rows = frontierRows("mnist", own, bothWays(own));
    expect(rows[0]!.askedFraction).toBe(0.3);
    expect(rows.at(-1)!.askedFraction).toBe(1);
    for (const [index, { askedFraction, macsFraction }] of rows.entries()) {
      expect(macsFraction).toBeLessThan(askedFraction! + 0.02);
      if (index > 0) expect(rows[index]!.accuracy).toBeGreaterThan(rows[index - 1]!.accuracy - 0.02);
    }
    // Half of the samples are right at the first exit, nearly all at the last.
    expect(rows[0]!.accuracy).toBeGreaterThan(0.45);
    expect(rows[0]!.accuracy).toBeLessThan(0.55);
    expect(rows.at(-1)!.accuracy).toBeGreaterThan(0.9);
  });

  it("ask exits to agree with the network, also where the most confident exit answers when none is sure", () => {
    const [made, second] = [candidate(2000, 7), candidate(2000, 8)];
    const { confidences, predictions, labels } = made.record;
    // The first exit is as right as before, and surer than it should be.
    const overconfident = confidences[0]!.map((value) => Math.sqrt(value));
    const middle = predictions[1]!.map((answer, row) =>
      second.record.confidences[0]![row]! < 0.8 ? answer : labels[0]!,
    );
    const own: ExitRecord = {
      ...made.record,
      exits: ["exit1", "exit2", "full"],
      confidences: [overconfident, second.record.confidences[0]!.map((value) => 1 - value), confidences[1]!],
      predictions: [predictions[0]!, middle, predictions[1]!],
    };
    const answers = predictions[1]!.map((answer, row) => (overconfident[row]! > 0.9 ? predictions[0]![row]! : answer));
    const record: ExitRecord = { ...own, predictions: [predictions[0]!, middle, answers] };
    const costs: ExitCosts = { exits: [30, 60, 101], full: 100 };
    const pointsOf = (asked: ExitRecord) => {
      const agreement = fitAgreement(foldRecords(asked)[0]);
      return agreementFrontier(foldRecords(record)[0], costs, agreement, { resolution: 0 });
    };
    const [{ points }] = bothWays({ ...made, costs, record, own });
    expect(points).toEqual(pointsOf(own));
    expect(points).not.toEqual(pointsOf(record));
  });

  it("keep to a loss against the plain network, or say that they cannot", () => {
    const own = candidate(4000, 5);
    const [strict, , , loose] = withinRows("mnist", own, bothWays(own), own.record);
    expect(strict!.macsFraction).toBeGreaterThan(loose!.macsFraction!);
    const perfect: ExitRecord = { ...own.record, predictions: own.record.predictions.map(() => own.record.labels) };
    expect(withinRows("mnist", own, bothWays(own), perfect).slice(0, 2)).toMatchObject([
      { wantedLoss: 0.005, macsFraction: null, accuracy: null },
      { wantedLoss: 0.01, macsFraction: null },
    ]);
  });

  it("choose the most accurate point within a cost, as brute force does", () => {
    const point = fc.record({
      costFraction: fc.integer({ min: 1, max: 10 }),
      accuracy: fc.integer({ min: 0, max: 5 }),
    });
    fc.assert(
      fc.property(fc.array(point), fc.integer({ min: 0, max: 11 }), (made, fraction) => {
        const points = made.map((one) => ({ ...one, meanCost: one.costFraction, thresholds: [] }));
        const [best] = points
          .filter(({ costFraction }) => costFraction <= fraction)
          .sort((a, b) => b.accuracy - a.accuracy || a.meanCost - b.meanCost);
        const found = mostAccurate(points, fraction);
        expect([found?.accuracy, found?.meanCost]).toEqual([best?.accuracy, best?.meanCost]);
      }),
    );
  });
});

describe("what the paper says", () => {
  const row = (method: RivalRow["method"], budget: RivalRow["budget"], askedFraction: number, accuracy: number) =>
    ({
      dataset: "mnist",
      method,
      budget,
      seed: 1,
      askedFraction,
      macsFraction: askedFraction,
      accuracy,
      wallFraction: null,
    }) as const;
  const plain = new Map([["mnist", 0.9]] as const);

  const judged = (rows: readonly RivalRow[], diverged: Parameters<typeof claimsOf>[0]["diverged"] = []) =>
    claimsOf({ rows, plain, diverged });
  const poster = [0.15, 0.2, 0.25, 0.3];

  it("is compared at the largest allowance up to the fraction, seed by seed", () => {
    const rows = [
      row("sdn", "one epoch", 0.2, 0.5),
      row("sdn", "one epoch", 0.3, 0.9),
      { ...row("sdn", "one epoch", 0.25, 0.7), seed: 2 },
      // A timed setting is not part of the frontier.
      { ...row("sdn", "one epoch", 0.25, 1), askedFraction: null, wallFraction: 0.3 },
    ];
    const at = (method: RivalRow["method"], fraction: number) =>
      Object.fromEntries(accuraciesAt(rows, "mnist", [method, "one epoch"], fraction));
    expect(at("sdn", 0.25)).toEqual({ 1: 0.5, 2: 0.7 });
    expect(at("sdn", 0.1)).toEqual({});
    expect(at("e2cm", 1)).toEqual({});
  });

  it("names the data set it was said of, and is not attempted where nothing ran", () => {
    const claims = judged([]);
    expect(claims.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => "not attempted"));
    expect(claims.slice(0, 4).map(({ paper }) => paper.startsWith("of CIFAR-10: "))).toEqual([true, true, true, true]);
    expect(claims.slice(4).map(({ dataset }) => dataset)).toEqual(["cifar10", "kmnist"]);
    const own = claimsOf({ rows: [], plain: new Map([["kmnist", 0.96]]), diverged: [] });
    expect(own).toHaveLength(5);
    expect(own[0]!.paper).toMatch(/^one pass .*\.917/);
  });

  it("holds where the lead is larger than its spread", () => {
    const pass = { ...row("e2cm-euclidean", "one epoch", 0.25, 0.8), seed: null };
    const sdn = (...accuracies: number[]) =>
      accuracies.map((accuracy, index) => ({ ...row("sdn", "one epoch", 0.25, accuracy), seed: index + 1 }));
    const first = (rows: readonly RivalRow[]) => judged(rows)[0]!;
    expect(first([pass, ...sdn(0.6, 0.62)])).toMatchObject({ status: "as the paper says" });
    expect(first([pass, ...sdn(0.9, 0.92)])).toMatchObject({ status: "otherwise" });
    expect(first([pass, ...sdn(0.7, 0.88)])).toMatchObject({
      status: "within the spread",
      measured: "at .25: class means 80.0 %, with a shared covariance not that cheap, SDN 79.0 % ± 12.7",
    });
    expect(first([{ ...pass, askedFraction: 0.3 }, ...sdn(0.6)])).toMatchObject({ status: "cannot be so cheap" });
  });

  it("calls it forgetting where one epoch costs ten points or more, on the frontier", () => {
    const second = (...accuracies: number[]) =>
      judged(
        accuracies.map((accuracy, index) => ({ ...row("branchynet", "one epoch", 1, accuracy), seed: index })),
      )[1]!;
    expect(second(0.3, 0.5)).toMatchObject({
      status: "as the paper says",
      measured: "at best 40.0 % ± 14.1, the network 90.0 %",
    });
    expect(second(0.85)).toMatchObject({ status: "otherwise" });
    const lost = { dataset: "mnist", method: "branchynet", budget: "one epoch", seed: 2, epochs: 1, step: 7 } as const;
    const [, claim] = judged([row("branchynet", "one epoch", 1, 0.3)], [lost]);
    expect(claim!.measured).toBe("at best 30.0 %, the network 90.0 %; diverged with 1 seeds");
  });

  it("compares seed with seed, and shows where one of the methods costs more", () => {
    const rows = (gains: readonly number[]) =>
      poster.flatMap((at, index) =>
        gains.flatMap((gain, seed) => [
          { ...row("sdn", "unlimited", at, 0.5 + seed / 10), seed },
          ...(index === 0 ? [] : [{ ...row("e2cm-sdn", "unlimited", at, 0.5 + seed / 10 + gain), seed }]),
        ]),
      );
    expect(judged(rows([0.01, 0.03]))[2]).toMatchObject({
      status: "as the paper says",
      measured: "ahead by –, 2.0 ± 1.4, 2.0 ± 1.4, 2.0 ± 1.4 points (–: one of them costs more)",
    });
    expect(judged(rows([-0.03, -0.01]))[2]).toMatchObject({ status: "otherwise" });
    expect(judged(rows([-0.01, 0.03]))[2]).toMatchObject({ status: "within the spread" });
    expect(judged(rows([0.01, 0.03]))[3]).toMatchObject({ status: "not attempted" });
    const shared = poster.map((at) => ({ ...row("e2cm-sdn-shared", "unlimited", at, 0.7), seed: 0 }));
    expect(judged([...rows([-0.03]), ...shared])[2]).toMatchObject({
      status: "otherwise",
      measured: expect.stringMatching(
        /; with distances by a shared covariance ahead by 20.0, 20.0, 20.0, 20.0 points$/,
      ),
    });
  });
});

describe("a network with all exits switched off", () => {
  it("is the plain network, bit for bit", async () => {
    const network = await rivalNetwork(device, 56, (await readWeights("resnet56-4bfd9763")).weights, [3, 32, 32]);
    const { test } = await openDataset(cifar10, undefined);
    const { x, y } = oneBatch(slicePictures(test, 0, 64));
    const { model, input, output } = network.folded;
    const taps = tapsWithin(network, SDN_PLACES);
    const made = exitNetwork(
      importBackbone(model, { taps }),
      taps.map((tap) => ({ tap, head: heads.mixedPool() })),
    );
    const exitModel = toExitModel(made, made.init(generator(1)));
    const plain = await device.load(model);
    const logits = (await plain.run({ [input]: x }))[output]!;
    await plain.release();
    const answer = trace(({ z }) => ({ confidence: confidenceOf(z, "maxProbability"), prediction: predictionOf(z) }), {
      z: spec("float32", logits.shape),
    });
    const runner = await device.compile(answer);
    const { confidence, prediction } = await runner.run({ z: logits });
    await runner.release();
    const staged = await openStaged(device, exitModel);
    const { confidences, predictions } = await staged.classify(
      x,
      taps.map(() => NEVER),
    );
    await staged.release();
    expect(confidences).toEqual(confidence!.data);
    expect(predictions).toEqual(Int32Array.from(prediction!.data as BigInt64Array, Number));
    const record = await recordExits(device, exitModel, [{ x, y }]);
    expect(record.confidences.at(-1)).toEqual(confidences);
  }, 60_000);
});

describe("data sets of a run", () => {
  it("are those that are named, or there", async () => {
    const folder = join(await temporaryFolder(), "run");
    const own = await context(folder);
    const names = async (changed: Partial<Context>) =>
      (await chosenDatasets({ ...own, ...changed })).map(({ name }) => name);
    expect(await names({})).toEqual(["mnist"]);
    expect(await names({ extras: { datasets: ["mnist", "cifar10"] } })).toEqual(["cifar10", "mnist"]);
    expect(await names({ extras: {} })).toEqual(["cifar10"]);
    await expect(names({ extras: { datasets: ["imagenet"] } })).rejects.toThrow(
      /--datasets must be some of cifar10, cifar100, fashion-mnist, kmnist, mnist; got "imagenet"/,
    );
    await expect(names({ extras: { datasets: ["kmnist"] } })).rejects.toThrow(/KMNIST must be in the data folder/);

    const stderr = memory();
    const directory = await temporaryFolder();
    const data = { ...openDataSource(directory, SILENT), mnist: () => Promise.resolve(DATA) };
    expect(await names({ preset: "full", extras: {}, data, progress: createProgress(stderr) })).toEqual([
      "cifar10",
      "mnist",
    ]);
    expect(stderr.text()).toMatch(/without cifar100: .*\nwithout fashion-mnist: .*\nwithout kmnist: /);
  }, 60_000);
});
