// What is no sample, streams in any order, offsets, and calls that are stopped.
import {
  compileProgram,
  type Device,
  generator,
  type Model,
  openDevice,
  ops,
  programToModel,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { REJECTED } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { distancesTo } from "../src/decisions/distances.ts";
import {
  accumulateStatistics,
  type Batch,
  calibrateExits,
  type FittedExits,
  fit,
  openClassifier,
  recordScores,
  solveExits,
} from "../src/index.ts";
import { holdOut } from "../src/network/hold-out.ts";
import { batches, tinyModel, trainedOn } from "./fixture.ts";

const model: Model = tinyModel();
let device: Device;
let plain: FittedExits;
const rejecting: Record<string, FittedExits> = {};

beforeAll(async () => {
  device = await openDevice("cpu");
  const options = { classes: 4, calibration: batches("test", 60), features: "pooled", device } as const;
  plain = await fit(model, batches("train", 60), options);
  for (const by of ["distance", "probability"] as const)
    rejecting[by] = await fit(model, batches("train", 60), { ...options, reject: { quantile: 0.9, by } });
});
afterAll(() => device.close());

const [good] = batches("test", 8) as [Batch];
const spoiled = (value: number, row = 3): Tensor<"float32"> => {
  const data = (good.x.data as Float32Array).slice();
  data[(row * data.length) / 8 + 5] = value;
  return tensor("float32", good.x.shape, data);
};

describe("a row that is no sample", () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "%d is refused by its row",
    async (value) => {
      const classifier = await openClassifier(model, plain, { device });
      await expect(classifier.classify(spoiled(value))).rejects.toThrow(
        `early-exit.classify: samples must be finite numbers, and their squares too; got ${value} in row 3 of a batch of 8.`,
      );
      // The queue goes on.
      expect((await classifier.classify(good.x)).predictions).toHaveLength(8);
      await classifier.release();
    },
  );

  it("1e38, whose square is no number, is refused by its row too, or turned away", async () => {
    const strict = await openClassifier(model, plain, { device });
    await expect(strict.classify(spoiled(1e38))).rejects.toThrow(
      /and their squares too; got .* in row 3 of a batch of 8/,
    );
    await strict.release();
    const lenient = await openClassifier(model, plain, { device, onInvalid: "reject" });
    const answers = await lenient.classify(spoiled(1e38));
    expect([answers.predictions[3], answers.confidences[3]]).toEqual([REJECTED, 0]);
    await lenient.release();
  });

  it.each(["distance", "probability"])(
    "with rejection by %s it is REJECTED, and the others are as without it",
    async (by) => {
      const classifier = await openClassifier(model, rejecting[by]!, { device, aimedAccuracyLoss: 0.01 });
      const reference = await classifier.classify(good.x);
      for (const value of [Number.NaN, Number.NEGATIVE_INFINITY, 1e38]) {
        const { predictions, leftAt, confidences, rowsPerStage } = await classifier.classify(spoiled(value));
        expect(predictions[3]).toBe(REJECTED);
        expect(rowsPerStage[0]).toBe(7);
        for (const row of [0, 1, 2, 4, 5, 6, 7]) {
          expect(predictions[row]).toBe(reference.predictions[row]);
          expect(leftAt[row]).toBe(reference.leftAt[row]);
          expect(confidences[row]).toBeCloseTo(reference.confidences[row]!, 5);
        }
      }
      await classifier.release();
    },
  );

  it("in a graph on its own NaN is novel, by distance and by probability", async () => {
    const { toExitModel } = await import("../src/index.ts");
    const { addTaps } = await import("@exitkit/core-gpu");
    for (const by of ["distance", "probability"]) {
      const network = await toExitModel(model, rejecting[by]!, { device });
      const names = network.exits.map(({ prediction }) => prediction);
      const session = await device.load(addTaps(network.model, names));
      const results = await session.run({ [network.input]: spoiled(Number.NaN) }, { outputs: names });
      for (const name of names) expect(Number(results[name]!.data[3])).toBe(REJECTED);
      await session.release();
    }
  });
});

describe("buffers and stopping", () => {
  it("an array that is filled anew while calls wait does not change their answers", async () => {
    const classifier = await openClassifier(model, plain, { device });
    const reference = await classifier.classify(good.x);
    const shared = tensor("float32", good.x.shape, new Float32Array(new SharedArrayBuffer(good.x.data.length * 4)));
    const waiting = Array.from({ length: 5 }, () => {
      shared.data.set(good.x.data as Float32Array);
      const answer = classifier.classify(shared);
      shared.data.fill(7);
      return answer;
    });
    for (const answers of await Promise.all(waiting)) expect(answers).toEqual(reference);
    await classifier.release();
  });

  it("calls that wait are bounded, and can be taken out of the queue", async () => {
    const classifier = await openClassifier(model, plain, { device });
    const abort = new AbortController();
    const first = classifier.classify(good.x);
    const stopped = classifier.classify(good.x, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    const many = Array.from({ length: 300 }, () => classifier.classify(good.x));
    const results = await Promise.allSettled(many);
    const refused = results.filter(({ status }) => status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    expect(String((refused[0] as PromiseRejectedResult).reason)).toContain("at most 256 calls may wait");
    expect((await first).predictions).toHaveLength(8);
    await classifier.release();
  });

  it("fit, accumulateStatistics, calibrateExits and recordScores stop between batches and close their streams", async () => {
    const stopping = () => {
      const abort = new AbortController();
      let closed = false;
      async function* stream() {
        try {
          for (let turn = 0; turn < 50; turn++) {
            if (turn === 2) abort.abort(new Error("enough"));
            yield good;
          }
        } finally {
          closed = true;
        }
      }
      return { signal: abort.signal, stream, closed: () => closed };
    };
    const calls: ((signal: AbortSignal, stream: AsyncIterable<Batch>) => Promise<unknown>)[] = [
      (signal, stream) => fit(model, stream, { classes: 4, device, signal, calibration: batches("test", 60) }),
      (signal, stream) => fit(model, batches("train", 60), { classes: 4, device, signal, calibration: stream }),
      (signal, stream) => accumulateStatistics(model, stream, { classes: 4, device, signal }),
      (signal, stream) => calibrateExits(model, [plain], { calibration: stream, device, signal }),
      (signal, stream) => recordScores(model, plain, stream, { device, signal }),
    ];
    for (const call of calls) {
      const { signal, stream, closed } = stopping();
      await expect(call(signal, stream())).rejects.toThrow("enough");
      expect(closed()).toBe(true);
    }
    expect(
      (
        await solveExits(
          model,
          await accumulateStatistics(model, [good, ...batches("train", 60)], { classes: 4, device }),
          { device },
        )
      ).classes,
    ).toBe(4);
  });
});

describe("what is held out", () => {
  const sample = (label: number, value: number): Batch => ({ x: tensor("float32", [1, 1], [value]), y: [label] });
  const spread = (batches: readonly Batch[], classes: number) => {
    const counts = new Array<number>(classes).fill(0);
    for (const { y } of batches) for (let i = 0; i < y.length; i++) counts[y[i]!]!++;
    return counts;
  };

  it.each(["class by class", "in turn"])("one of ten of every class: %s", async (order) => {
    const held = holdOut(10);
    const all = Array.from({ length: 1000 }, (_, at) => at);
    const stream = all.map((at) => sample(order === "in turn" ? at % 10 : Math.floor(at / 100), at));
    const trained = (await trainedOn(held, stream)).flatMap(({ x }) => [...x.data]);
    expect(spread(held.batches(), 10)).toEqual(Array(10).fill(10));
    const kept = held.batches().flatMap(({ x }) => [...(x.data as Float32Array)]);
    expect([...kept, ...trained].sort((a, b) => a - b)).toEqual(all);
  });

  it("the rest comes in batches as large as the stream's, every sample with its label", async () => {
    const sizes = [30, 10, 7, 50, 30, 30];
    let at = 0;
    const stream = sizes.map((n) => {
      const first = at;
      at += n;
      const values = Array.from({ length: 2 * n }, (_, i) => first + Math.floor(i / 2));
      return { x: tensor("float32", [n, 2], values), y: Array.from({ length: n }, (_, i) => (first + i) % 3) };
    });
    const held = holdOut(3);
    const trained = await trainedOn(held, stream);
    const left = trained.map(({ y }) => y.length);
    expect(left.slice(0, -1)).toEqual([30, 50, 50]);
    expect(left.reduce((sum, n) => sum + n) + held.batches()[0]!.y.length).toBe(157);
    for (const { x, y } of trained) {
      expect(x.shape).toEqual([y.length, 2]);
      for (const [row, label] of Array.from(y).entries()) {
        expect([x.data[2 * row]! % 3, x.data[2 * row + 1]]).toEqual([label, x.data[2 * row]]);
      }
    }
  });

  it("no more than there is room for, from all of a class, and what gives way is trained on", async () => {
    const held = holdOut(2500);
    const stream = Array.from({ length: 4000 }, (_, at) => sample(at % 2, at));
    const trained = (await trainedOn(held, stream)).flatMap(({ x }) => [...x.data]);
    // 5,000 ÷ 2,500 classes: two of each.
    expect(spread(held.batches(), 2)).toEqual([2, 2]);
    const kept = held.batches().flatMap(({ x }) => [...(x.data as Float32Array)]);
    expect(new Set([...kept, ...trained]).size).toBe(4000);
    expect(Math.max(...kept)).toBeGreaterThan(1000);
    const again: number[] = [];
    for await (const { x } of held.leaveOut(stream)) again.push(...(x.data as Float32Array));
    expect(again.toSorted((a, b) => a - b)).toEqual(trained.toSorted((a, b) => a - b));
  });

  it("batches of one class each: fit finds every class, held out and trained on", async () => {
    const ordered = batches("train", 240)
      .flatMap(({ x, y }) => Array.from(y, (label, row) => ({ label: Number(label), x, row })))
      .sort((a, b) => a.label - b.label);
    const width = ordered[0]!.x.data.length / ordered[0]!.x.shape[0]!;
    const repeated = Array.from({ length: 3 }, () => ordered)
      .flat()
      .sort((a, b) => a.label - b.label);
    const stream = Array.from({ length: Math.ceil(repeated.length / 60) }, (_, at): Batch => {
      const own = repeated.slice(at * 60, at * 60 + 60);
      const x = tensor("float32", [own.length, ...own[0]!.x.shape.slice(1)]);
      own.forEach(({ x: from, row }, place) => {
        x.data.set((from.data as Float32Array).subarray(row * width, (row + 1) * width), place * width);
      });
      return { x, y: own.map(({ label }) => label) };
    });
    const { calibration } = await fit(model, stream, { classes: 4, features: "pooled", device });
    expect(calibration).toMatchObject({ heldOut: true });
    expect(calibration!.samples).toBeGreaterThanOrEqual(70);
  });
});

it("distances do not depend on a common offset of the features", async () => {
  // Means 1 apart, features between them: float32 keeps 7 digits, of which an offset of 10,000 takes 5.
  const means = Float32Array.from([0, 0, 1, 0, 0, 1]);
  const x = Float32Array.from([0.25, 0.125, 0.75, 0.5, 0.5, 0.875]);
  const expected = (row: number, k: number) =>
    Math.hypot(x[row * 2]! - means[k * 2]!, x[row * 2 + 1]! - means[k * 2 + 1]!);
  for (const offset of [0, 300, 10_000]) {
    const program = trace(
      ({ x }) => ({
        d: distancesTo(
          x,
          means.map((value) => value + offset),
          3,
        ),
      }),
      { x: spec("float32", ["n", 2]) },
    );
    const session = await compileProgram(device, program);
    const { d } = await session.run({
      x: tensor(
        "float32",
        [3, 2],
        x.map((value) => value + offset),
      ),
    });
    for (let row = 0; row < 3; row++)
      for (let k = 0; k < 3; k++) expect(Number(d!.data[row * 3 + k])).toBeCloseTo(expected(row, k), 3);
    await session.release();
  }
});

describe.each(["euclidean", "sharedCovariance"] as const)("a common offset of all features, %s", (metric) => {
  // Inputs are multiples of 1/64, so that at an offset of 10,000 float32 holds them all.
  const n = 240;
  const random = generator(8);
  const y = Int32Array.from({ length: n }, (_, at) => at % 4);
  const values = Float32Array.from({ length: n * 6 }, (_, at) => {
    const own = y[Math.floor(at / 6)] === at % 6 ? 1 : 0;
    return Math.round(64 * (own + 0.7 * random.normal())) / 64;
  });
  const own = tensor(
    "float32",
    [4, 6],
    Array.from({ length: 24 }, (_, at) => (at % 6 === Math.floor(at / 6) ? 1 : 0)),
  );
  const answersAt = async (offset: number) => {
    const network = trace(
      ({ x }) => {
        const tap = ops.add(x, offset);
        return { tap, logits: ops.linear(ops.sub(tap, offset), own) };
      },
      { x: spec("float32", ["n", 6]) },
    );
    const made = programToModel(network);
    const model = {
      proto: { ...made.proto, graph: { ...made.proto.graph!, output: [made.proto.graph!.output.at(-1)!] } },
    } as Model;
    const part = (from: number, to: number): Batch => ({
      x: tensor("float32", [to - from, 6], values.slice(from * 6, to * 6)),
      y: y.slice(from, to),
    });
    const stream = [part(0, 60), part(60, 100)];
    const calibration = [part(100, 170)];
    const fitted = await fit(model, stream, { classes: 4, taps: ["tap"], metric, calibration, device });
    const classifier = await openClassifier(model, fitted, { thresholds: [0], device });
    const { predictions, confidences } = await classifier.classify(part(170, 240).x);
    await classifier.release();
    return { predictions, confidences };
  };

  it.each([300, 3000, 10_000])("%d: answers as at 0", async (offset) => {
    const [here, there] = [await answersAt(0), await answersAt(offset)];
    expect(new Set(here.predictions).size).toBe(4);
    expect(there.predictions).toEqual(here.predictions);
    here.confidences.forEach((confidence, row) => {
      expect(there.confidences[row]).toBeCloseTo(confidence, 2);
    });
  });
});

describe("words that say the cause and the cure", () => {
  const one = (label: number) => {
    const at = Array.from(good.y, Number).indexOf(label);
    const width = good.x.data.length / 8;
    const data = (good.x.data as Float32Array).slice(at * width, (at + 1) * width);
    return { x: tensor("float32", [1, ...good.x.shape.slice(1)], data), y: [label] };
  };
  const labels = [...new Set(Array.from(good.y, Number))];
  const options = { classes: labels.length, calibration: batches("test", 60), device } as const;

  it.each(["euclidean", "sharedCovariance"] as const)("features around 1e-20 are named, %s", async (metric) => {
    const identity = tensor("float32", [3, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    const small = programToModel(
      trace(
        ({ x }) => {
          const tap = ops.mul(ops.mean(x, { axes: [2, 3] }), 1e-20);
          return { tap, logits: ops.linear(ops.mul(tap, 1e20), identity) };
        },
        { x: spec("float32", ["n", 3, 4, 4]) },
      ),
    );
    const random = generator(4);
    const drawn = (): Batch => ({
      x: tensor(
        "float32",
        [60, 3, 4, 4],
        Array.from({ length: 60 * 48 }, () => random.normal()),
      ),
      y: Int32Array.from({ length: 60 }, (_, at) => at % 3),
    });
    const settings = { classes: 3, output: "logits", taps: ["tap"], calibration: [drawn()], metric, device } as const;
    await expect(fit(small, [drawn()], settings)).rejects.toThrow(
      /training samples must differ in what is read at "tap"; got features around \de-2\d, whose squares are 0 in float32\. Scale them in the network/,
    );
  });

  it.each(["euclidean", "sharedCovariance"] as const)("samples that all look alike, %s", async (metric) => {
    const same = one(labels[0]!);
    const stream = labels.map((_, at) => ({ ...same, y: [at] }));
    const calibration = batches("test", 60).map(({ x, y }) => ({ x, y: Array.from(y, () => 0) }));
    await expect(fit(model, stream, { ...options, calibration, device, metric })).rejects.toThrow(
      /training samples must differ in what is read at ".*"; got the same features, all at one class mean\. Check how they are decoded/,
    );
  });

  it("a calibration sample of 1e20 is named by batch and row", async () => {
    const [first, second] = batches("test", 30) as [Batch, Batch];
    const data = (second.x.data as Float32Array).slice();
    data[(7 * data.length) / 30 + 3] = 1e20;
    const calibration = [first, { ...second, x: tensor("float32", second.x.shape, data) }];
    await expect(fit(model, batches("train", 60), { classes: 4, calibration, device })).rejects.toThrow(
      /their squares too; got 100000002004087730000 in row 7 of batch 1/,
    );
  });
});
