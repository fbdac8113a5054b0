import { type Device, generator, InputError, openDevice, ops, type Tensor, tensor } from "@exitkit/core-gpu";
import { exitRecord, recordScores } from "@exitkit/e2cm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { batches } from "../src/data/batches.ts";
import { type Dataset, openDataset } from "../src/data/directory.ts";
import type { Pictures } from "../src/data/pictures.ts";
import { cifar10, cifar100 } from "../src/data/sets/index.ts";
import { openDataSource } from "../src/data/source.ts";
import type { Context } from "../src/experiments/experiment.ts";
import {
  classOrder,
  heldOut,
  heldOutNames,
  knownOnly,
  type OnlineMeasure,
  onlineRows,
  reordered,
} from "../src/experiments/open-world/held-out.ts";
import { openWorld } from "../src/experiments/open-world/index.ts";
import { accuracyOf, averaged } from "../src/experiments/open-world/measures.ts";
import { rejecting } from "../src/experiments/open-world/rejecting.ts";
import { nearestMeans, type Subject, sumUp } from "../src/experiments/open-world/subject.ts";
import { unknownsOf } from "../src/experiments/open-world/unknowns.ts";
import { PICTURES, SEEDS } from "../src/experiments/options.ts";
import { spread } from "../src/measuring/spread.ts";
import { openRun } from "../src/runs/run.ts";
import { SILENT } from "../src/terminal/progress.ts";
import { makeBackbone } from "../src/zoo/backbone.ts";
import { temporaryFolder } from "./helpers.ts";

/** One-byte pictures whose pixel is their place. */
const pictures = (labels: readonly number[]) => ({
  n: labels.length,
  shape: [1, 1, 1] as const,
  pixels: Uint8Array.from(labels, (_, row) => row),
  labels: Int32Array.from(labels),
});

describe("unknown pictures", () => {
  test("of CIFAR-100 are near or far, labelled −1, and no pickup trucks", () => {
    const test = pictures(Array.from({ length: 200 }, (_, row) => row % 100));
    const [far, near] = unknownsOf({ test, classNames: cifar100.classNames }, 1000);
    expect([far!.kind, far!.pictures.n, near!.kind, near!.pictures.n]).toEqual(["far", 140, "near", 58]);
    const names = (of: typeof far) => [...of!.pictures.pixels].map((row) => cifar100.classNames[row % 100]!);
    expect(names(far)).toContain("maple_tree");
    expect(names(near)).toContain("wolf");
    expect([...names(far), ...names(near)]).not.toContain("pickup_truck");
    expect(new Set([...far!.pictures.labels, ...near!.pictures.labels])).toEqual(new Set([-1]));
    expect(unknownsOf({ test, classNames: cifar100.classNames }, 10).map((one) => one.pictures.n)).toEqual([10, 10]);
  });
});

describe("held-out classes", () => {
  test("come last in an order of the seed, and go", () => {
    const order = classOrder(3);
    expect([...order].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(classOrder(3)).toEqual(order);
    expect(classOrder(4)).not.toEqual(order);
    expect(heldOutNames(order, "abcdefghij".split(""))).toEqual(order.slice(8).map((at) => "abcdefghij"[at]));
    const moved = reordered(pictures([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), order);
    order.forEach((label, at) => {
      expect(moved.labels[label]).toBe(at);
    });
    const known = knownOnly(moved);
    expect(known.n).toBe(8);
    expect([...known.pixels]).not.toContain(order[8]);
    expect([...known.pixels]).not.toContain(order[9]);
  });
});

describe("repetitions", () => {
  test("become means and standard deviations", () => {
    expect(spread([0.5])).toEqual({ mean: 0.5 });
    const { mean, deviation } = spread([1, 2, 3]);
    expect([mean, deviation]).toEqual([2, 1]);
    const row = { backbone: "b", unknown: "u", metric: "m", score: "novelty", exit: "e", macsFraction: 1 } as const;
    const [one] = averaged([[{ ...row, auroc: 0.5 }], [{ ...row, auroc: 0.7 }]]);
    expect(one!.auroc).toBeCloseTo(0.6, 12);
    expect(one!.deviation).toBeCloseTo(Math.SQRT2 / 10, 12);
    const measure = (seed: number, samples: number | null, draw: number, fresh: number): OnlineMeasure => ({
      samples,
      fresh,
      seed,
      draw,
      exit: "e",
      macsFraction: 1,
      predictFrom: "raw",
      old: 1,
      before: seed / 10,
    });
    const label = { backbone: "b", unknown: "u" };
    const first = [measure(1, 1, 0, 0.2), measure(1, 1, 1, 0.4), measure(1, null, 0, 1)];
    const second = [measure(2, 1, 0, 0.3), measure(2, 1, 1, 0.3), measure(2, null, 0, 1)];
    const rows = onlineRows(label, [...first, ...second]);
    expect(rows.map(({ samples, seeds, draws }) => [samples, seeds, draws])).toEqual([
      [1, 2, 2],
      [null, 2, 1],
    ]);
    // Before anything was drawn there is one value a seed, however many draws.
    expect(rows[0]!.before.mean).toBeCloseTo(0.15, 12);
    expect(rows[0]!.before.deviation).toBeCloseTo(0.1 / Math.SQRT2, 12);
    expect(onlineRows(label, first)[0]!.before).toEqual({ mean: 0.1 });
    expect(onlineRows(label, first)[0]!.fresh.deviation).toBeCloseTo(0.2 / Math.SQRT2, 12);
    expect(rows[0]!.fresh.mean).toBeCloseTo(0.3, 12);
  });
});

const SIDE = 8;
const CHANNELS = 16;
const NOTHING = 12;

/** Pictures in noise with a bright spot of two by two pixels, another for each label; `NOTHING` and more are of no class. */
function spots(labels: readonly number[], seed: number, light = 110): Pictures {
  const random = generator(seed);
  const pixels = new Uint8Array(labels.length * 3 * SIDE * SIDE);
  for (let at = 0; at < pixels.length; at++) pixels[at] = 60 + random.integer(110);
  labels.forEach((label, row) => {
    const [y, x] = [2 * Math.floor(label / 4), 2 * (label % 4)];
    for (const channel of [0, 1, 2])
      for (const [down, right] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ] as const) {
        const at = ((row * 3 + channel) * SIDE + y + down) * SIDE + x + right;
        pixels[at] = Math.min(255, pixels[at]! + light);
      }
  });
  return { n: labels.length, shape: [3, SIDE, SIDE], pixels, labels: Int32Array.from(labels) };
}

const tenClasses = (n: number) => Array.from({ length: n }, (_, row) => row % 10);

/** Five convolutions that hand the picture on among noise; a class scores what its own spot is brighter than all. */
function spotNetwork() {
  const random = generator(8);
  const conv = (from: number): Tensor => {
    const weight = tensor("float32", [CHANNELS, from, 3, 3]);
    for (let at = 0; at < weight.data.length; at++) weight.data[at] = 0.02 * random.normal();
    for (let channel = 0; channel < 3; channel++) weight.data[(channel * from + channel) * 9 + 4] = 1;
    return weight;
  };
  const linear = tensor("float32", [10, CHANNELS * SIDE * SIDE]);
  for (let label = 0; label < 10; label++)
    for (let channel = 0; channel < 3; channel++)
      for (let at = 0; at < SIDE * SIDE; at++) {
        const own = Math.floor(Math.floor(at / SIDE) / 2) * 4 + Math.floor((at % SIDE) / 2) === label;
        linear.data[(label * CHANNELS + channel) * SIDE * SIDE + at] = own ? 0.5 : -1 / 64;
      }
  const weights = { conv0: conv(3), conv1: conv(16), conv2: conv(16), conv3: conv(16), conv4: conv(16), linear };
  const shape = [3, SIDE, SIDE] as const;
  return makeBackbone({ name: "spots", exitsAfter: [1, 2], shape }, weights, (input, w) => {
    const blocks = [ops.relu(ops.conv(input, w.conv0!, { padding: 1 }))];
    for (const name of ["conv1", "conv2", "conv3", "conv4"]) {
      blocks.push(ops.relu(ops.conv(blocks.at(-1)!, w[name]!, { padding: 1 })));
    }
    return { logits: ops.linear(ops.flatten(blocks.at(-1)!), w.linear!), blocks };
  });
}

describe("a network that sees bright spots", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice("cpu");
  });
  afterAll(() => device.close());

  async function subject(light: number): Promise<Subject> {
    const data: Dataset = {
      ...(await openDataset(cifar10, undefined)),
      train: spots(tenClasses(800), 1, light),
      test: spots(tenClasses(400), 2, light),
    };
    const context: Context = {
      preset: "quick",
      seed: 1,
      device: "cpu",
      extras: {},
      data: openDataSource(undefined, SILENT),
      run: await openRun(await temporaryFolder(), { test: "open world" }, SILENT),
      progress: SILENT,
    };
    return { context, device, backbone: spotNetwork(), data };
  }

  test("tells spots elsewhere from its own, and turns them away with the thresholds it has without", async () => {
    const pictures = spots(
      Array.from({ length: 150 }, (_, row) => NOTHING + (row % 4)),
      3,
    );
    const unknowns = [{ kind: "far", pictures: { ...pictures, labels: new Int32Array(150).fill(-1) } }] as const;
    const { auroc, rejection } = await rejecting(await subject(45), unknowns);
    const last = auroc.filter(({ exit }) => exit === "full network");
    expect(last).toHaveLength(4);
    for (const row of last) expect(row.auroc, `${row.metric}, ${row.score}`).toBeGreaterThan(0.9);
    for (const metric of ["euclidean", "sharedCovariance"]) {
      const [none, leaving, every, probability] = rejection.filter((row) => row.metric === metric);
      const shares = (row: typeof none) => row!.leaving.map(({ share }) => share);
      expect(none!.falseRejections).toBe(0);
      expect(none!.unknown[0]!.rejected).toBe(0);
      // The same thresholds: a picture leaves where it would, whatever it is told there.
      expect(shares(leaving)).toEqual(shares(none));
      expect(shares(probability)).toEqual(shares(none));
      expect(shares(none).reduce((sum, share) => sum + share)).toBeCloseTo(1, 12);
      // An exit that turns away lets nothing go on that would have left.
      expect(shares(every).at(-1)!).toBeLessThanOrEqual(shares(none).at(-1)!);
      for (const row of [leaving, every, probability]) {
        expect(row!.falseRejections).toBeLessThan(0.1);
        // What leaves is sure enough, so that probability, seen on leaving, turns nothing away here.
        if (row!.by === "distance") expect(row!.unknown[0]!.rejected).toBeGreaterThan(0.25);
        expect(row!.accuracy).toBeLessThanOrEqual(none!.accuracy);
        expect(row!.accuracy).toBeGreaterThanOrEqual(none!.accuracy - row!.falseRejections - 1e-9);
      }
    }
    const shared = rejection.find((row) => row.metric === "sharedCovariance")!;
    expect(shared.leaving.slice(0, -1).some(({ share }) => share > 0)).toBe(true);
  }, 120_000);

  test("with all pictures of new classes is what fitting with them from the start gives", async () => {
    const own = await subject(30);
    const { auroc, online } = await heldOut(own, { seed: 3, unknown: "held out", draws: 2 });
    for (const row of auroc.filter(({ exit, metric }) => exit === "full network" && metric === "euclidean")) {
      expect(row.auroc, row.score).toBeGreaterThan(0.85);
    }
    const order = classOrder(3);
    const [train, test] = [reordered(own.data.train, order), reordered(own.data.test, order)];
    // Old classes from the known pictures and new ones from the others: all of the pictures.
    const fitted = await nearestMeans(own, await sumUp(own, "all", train, 10, "euclidean"), "euclidean");
    const scores = await recordScores(own.backbone.model, fitted, batches(test, 128), { device });
    const [all, accuracies] = [online.filter(({ samples }) => samples === null), new Set<number>()];
    expect(all).toHaveLength(10);
    for (const predictFrom of ["raw", "normalised"] as const) {
      const record = exitRecord(fitted, scores, { predictFrom });
      all
        .filter((row) => row.predictFrom === predictFrom)
        .forEach((row, exit) => {
          // One picture in 400 may be as near to two means.
          expect(Math.abs(row.old - accuracyOf(record, exit, (label) => label < 8))).toBeLessThan(0.004);
          expect(Math.abs(row.fresh - accuracyOf(record, exit, (label) => label >= 8))).toBeLessThan(0.02);
          if (predictFrom === "raw") expect(row.before).toBeGreaterThanOrEqual(row.old);
          accuracies.add(row.fresh);
        });
    }
    // Neither all right nor all wrong: the numbers say something.
    expect([...accuracies].some((accuracy) => accuracy > 0.2 && accuracy < 1)).toBe(true);
    // From one picture a class, new classes are recognised less often.
    const fresh = (samples: number | null) =>
      online.filter((row) => row.samples === samples && row.exit === "full network");
    const mean = (rows: readonly OnlineMeasure[]) => rows.reduce((sum, row) => sum + row.fresh / rows.length, 0);
    expect(fresh(1)).toHaveLength(4);
    expect(mean(fresh(1))).toBeLessThan(mean(fresh(null)));
  }, 120_000);
});

describe("open-world", () => {
  test("takes no fewer pictures than new classes are made of", async () => {
    expect(openWorld.takes).toEqual([SEEDS, PICTURES]);
    const run = await openRun(await temporaryFolder(), { test: "few" }, SILENT);
    const data = openDataSource(undefined, SILENT);
    const few = {
      preset: "quick",
      seed: 1,
      device: "cpu",
      extras: { pictures: 300 },
      data,
      run,
      progress: SILENT,
    } as const;
    await expect(openWorld.run(few, openWorld.presets.quick)).rejects.toThrow(InputError);
    await expect(openWorld.run(few, openWorld.presets.quick)).rejects.toThrow(
      /at least 50 training pictures of every class/,
    );
  });
});
