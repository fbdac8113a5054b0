import { type Device, InputError, type Model, openDevice, ops, tensor } from "@exitkit/core-gpu";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateStatistics,
  type Batch,
  type Batches,
  type FitOptions,
  fit,
  fitFromStatistics,
  openClassifier,
  recordScores,
  solveExits,
} from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";
import { counting, exampleNetwork, network, randomPictures, twoLayers, weights } from "./networks.ts";

let device: ReturnType<typeof counting>;
beforeAll(async () => {
  device = counting(await openDevice("cpu"));
});
afterAll(() => device.close());
afterEach(() => {
  expect(device.open(), "sessions left open").toBe(0);
});

/** The message of the InputError that something must be refused with. */
async function refusal(run: () => Promise<unknown>): Promise<string> {
  const error = await run().then(
    () => "nothing was refused",
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).message;
}

const calibration = batches("test", 60);
const [good] = batches("train", 240) as [Batch];
const fitOf = (given: unknown, options: object = {}, model: unknown = tinyModel()) =>
  fit(model as Model, given as Batches, { classes: 4, calibration, device, ...options } as FitOptions);

/** The good batch after another one, with something else in it. */
const bad = (change: Partial<Record<keyof Batch, unknown>>) => [good, { ...good, ...change }];
const pixels = good.x.data as Float32Array;
const labels = Array.from(good.y);

describe("batches", () => {
  it.each<[string, unknown, string]>([
    [
      "wrong rank",
      bad({ x: tensor("float32", [240, 192], pixels) }),
      "[n, 3, 8, 8], as the model's input is; got float32 [240, 192] in batch 1",
    ],
    [
      "wrong size",
      bad({ x: tensor("float32", [240, 8, 8, 3], pixels) }),
      "got float32 [240, 8, 8, 3] in batch 1. Make one with tensor(",
    ],
    [
      "wrong dtype",
      bad({ x: tensor("float64", [1, 3, 8, 8]), y: [0] }),
      "must be a float32 tensor [n, 3, 8, 8], as the model's input is; got float64 [1, 3, 8, 8] in batch 1",
    ],
    ["no x", bad({ x: undefined }), "got no x in batch 1"],
    ["x that is an array", bad({ x: [1, 2] }), "got object [] in batch 1"],
    ["no batch", [null], "got no x in batch 0"],
    [
      "data cut short",
      bad({ x: { ...good.x, data: pixels.subarray(1) } }),
      "x of batch 1 has shape [240, 3, 8, 8] and needs 46080 elements; got 46079",
    ],
    [
      "NaN pixel",
      bad({ x: { ...good.x, data: pixels.map((v, i) => (i === 1000 ? Number.NaN : v)) } }),
      "samples must be finite, and their squares too; got NaN in row 5 of batch 1. Check how that sample",
    ],
    [
      "infinite pixel",
      bad({ x: { ...good.x, data: pixels.map((v, i) => (i === 0 ? -Infinity : v)) } }),
      "got -Infinity in row 0 of batch 1",
    ],
    [
      "pixels so large that features overflow",
      bad({ x: { ...good.x, data: pixels.map(() => 1.8e19) } }),
      "features must be finite; got NaN or infinity at ",
    ],
    ["no labels", bad({ y: undefined }), "batch 1 has 240 rows and needs as many labels; got none"],
    ["too few labels", bad({ y: labels.slice(1) }), "batch 1 has 240 rows and needs as many labels; got 239"],
    [
      "label out of range",
      bad({ y: labels.with(7, 4) }),
      "labels must be whole numbers from 0 to 3; got 4 at row 7 of batch 1. Set `classes`",
    ],
    ["negative label", bad({ y: labels.with(0, -1) }), "got -1 at row 0 of batch 1"],
    ["fractional label", bad({ y: labels.with(0, 0.5) }), "got 0.5 at row 0 of batch 1"],
    ["empty stream", [], "at least one batch of training samples; got none. Is the stream used up?"],
    [
      "empty class",
      [{ ...good, y: labels.map((label) => label % 2) }],
      "every class needs at least one training sample; got none of class 2, 3 (4 classes). Feed more",
    ],
    ["no stream", 5, "batches must be an iterable of { x, y }, or a function that returns one; got number"],
    ["function that gives no stream", () => undefined, "function that returns one; got undefined"],
  ])("%s", async (_, given, message) => {
    const text = await refusal(() => fitOf(given));
    expect(text.startsWith("e2cm.fit: ")).toBe(true);
    expect(text).toContain(message);
  });

  it("a batch that would be held out is checked like any other", async () => {
    const stream = Array.from({ length: 12 }, (_, index) => (index === 9 ? { ...good, y: labels.with(3, 9) } : good));
    expect(await refusal(() => fitOf(stream, { calibration: undefined }))).toContain("got 9 at row 3 of batch 9");
  });

  it("bad calibration batches, too few of them, none held out", async () => {
    expect(await refusal(() => fitOf([good], { calibration: bad({ y: [] }) }))).toMatch(
      /^e2cm\.fit: batch 1 has 240 rows/,
    );
    const few = "thresholds need at least 50 calibration samples; got";
    expect(await refusal(() => fitOf([good], { calibration: batches("test", 49).slice(0, 1) }))).toContain(
      `${few} 49. Pass`,
    );
    expect(await refusal(() => fitOf([good], { calibration: undefined }))).toContain(
      `${few} 24. Pass \`calibration\` batches, or more training samples`,
    );
  });

  it("a second pass that is not the first", async () => {
    const once = [good, good].values();
    expect(await refusal(() => fitOf(() => once, { metric: "euclidean" }))).toContain(
      "e2cm.fit: the second pass must see the same 480 training samples as the first; got 0. Pass a function that starts",
    );
  });

  it("a stream that throws midway gives its own error and leaves no session open", async () => {
    async function* broken() {
      yield good;
      throw new Error("disk gone");
    }
    await expect(fitOf(broken())).rejects.toThrow("disk gone");
    await expect(fitOf([good], { calibration: broken() })).rejects.toThrow("disk gone");
    await expect(accumulateStatistics(tinyModel(), broken(), { classes: 4, device })).rejects.toThrow("disk gone");
    let passes = 0;
    const later = () => (passes++ === 0 ? [good] : broken());
    await expect(fitOf(later, { metric: "euclidean" })).rejects.toThrow("disk gone");
  });
});

describe("models", () => {
  const tiny = () => tinyModel().proto;
  const dimension = (value: { case: "dimValue"; value: bigint } | { case: "dimParam"; value: string }, at: number) => {
    const proto = structuredClone(tiny());
    const type = proto.graph!.input[0]!.type!.value;
    if (type.case === "tensorType") type.value.shape!.dim[at]!.value = value;
    return { proto } as Model;
  };
  const pictures = () => randomPictures(20, 1, 3, [4]);
  it.each<[string, () => unknown, object, string]>([
    [
      "bytes",
      () => new Uint8Array(8),
      {},
      "the model must be a Model; got bytes. Read the file first: await readModelFile(path).",
    ],
    ["nothing", () => null, {}, "the model must be a Model; got object"],
    [
      "two inputs",
      () => exampleNetwork("two-inputs"),
      {},
      'the model must have exactly one input; got "image" and "mask". Freeze',
    ],
    [
      "another number of classes",
      () => tinyModel(),
      { classes: 10 },
      'the model needs a float32 output [n, 10] of class scores; got "logits" float32 [1, 4]. Set `classes`',
    ],
    [
      "no float output",
      () => network([4], (x) => ({ answer: ops.argMax(x, { axis: 1 }) })),
      { classes: 3 },
      'needs a float32 output [n, 3] of class scores; got "answer" int64 [1]',
    ],
    [
      "a symbolic sample size",
      () => dimension({ case: "dimParam", value: "height" }, 2),
      {},
      `the model's input must state the shape of a sample; got "x" [n, 3, height, 8]. Fix every`,
    ],
    [
      "a fixed batch",
      () => dimension({ case: "dimValue", value: 16n }, 0),
      {},
      'must take batches of any size; got "x" [16, 3, 8, 8]. Export',
    ],
  ])("%s", async (_, model, options, message) => {
    const text = await refusal(() => fitOf([good], options, model()));
    expect(text.startsWith("e2cm.fit: ")).toBe(true);
    expect(text).toContain(message);
  });

  it("no block to exit after", async () => {
    const plain = network([4], (x) => ({ logits: ops.matmul(x, weights(4, 3)) }));
    for (const run of [fit, accumulateStatistics]) {
      expect(await refusal(() => run(plain, pictures(), { classes: 3, device }))).toMatch(
        /^e2cm\.(fit|accumulateStatistics): the model needs a block to exit after; got none found. Name the tensors/,
      );
    }
  });

  it.each<[string, () => Model, readonly string[], RegExp]>([
    [
      "that does not exist",
      twoLayers,
      ["frist"],
      /must read a tensor of the model .*; got "frist", which is none\..*"first".*proposeCuts/,
    ],
    [
      "without the batch",
      () => twoLayers((first) => ({ whole: ops.sum(first, { axes: 0, keepDimensions: false }) })),
      ["whole"],
      /first dimension is the batch; got "whole" \[6\]/,
    ],
    [
      "that the output does not need",
      () => twoLayers((first) => ({ aside: ops.tanh(first) })),
      ["aside"],
      /on the way to the output .*got "aside": an output must depend on every cut; got "aside", which none needs/,
    ],
    ["that is the input", twoLayers, ["x"], /got "x": cut 0 must be a tensor that nodes make.*the graph input "x"/],
    ["twice", twoLayers, ["first", "first"], /got "first", "first": every tensor may be cut once; got "first" twice/],
    ["that is the output", twoLayers, ["logits"], /exits must lie before the network's output; got "logits"/],
  ])("an exit %s", async (_, model, exits, message) => {
    const text = await refusal(() => fit(model(), pictures(), { classes: 3, taps: exits, device }));
    expect(text).toMatch(/^e2cm\.fit: /);
    expect(text).toMatch(message);
  });

  it("exits out of order, and more features than a covariance can hold", async () => {
    const chain = network([4], (x) => {
      const first = ops.relu(ops.matmul(x, weights(4, 9000)));
      const later = ops.relu(ops.matmul(first, weights(9000, 5)));
      return { first, later, logits: ops.matmul(later, weights(5, 3)) };
    });
    expect(await refusal(() => fit(chain, pictures(), { classes: 3, taps: ["later", "first"], device }))).toContain(
      "cut 1 must come after cut 0",
    );
    expect(await refusal(() => fit(chain, pictures(), { classes: 3, taps: ["first"], device }))).toContain(
      'at most 8192 features an exit, for its covariance has d² numbers; got 9000 at "first". Use features',
    );
  });
});

describe("options", () => {
  it.each<[object, string]>([
    [{ clases: 4 }, 'unknown option "clases"'],
    [{ classes: 1 }, 'option "classes"'],
    [{ classes: undefined }, 'option "classes"'],
    [{ metric: "cosine" }, 'option "metric"'],
    [{ taps: [] }, 'option "taps"'],
    [{ features: "raw" }, 'option "features"'],
    [{ device: "cpu" }, 'option "device" must be an open device: await openDevice("cpu") (got "cpu")'],
    [{ calibration: 5 }, 'option "calibration" must be an iterable of batches { x, y } (got 5)'],
    [{ onProgress: true }, 'option "onProgress" must be a function (got true)'],
    [{ outputs: 1 }, 'option "outputs"'],
    [
      { classes: 3, outputs: 4 },
      "own head can only answer the classes that it was trained on; got 4 outputs for 3 classes",
    ],
    [{ reject: { quantile: 1 } }, 'option "reject.quantile"'],
    [{ reject: { quantil: 0.9 } }, 'unknown option "quantil"'],
    [{ reject: { at: "last" } }, 'option "reject.at"'],
    [{ reject: { by: "entropy" } }, 'option "reject.by"'],
  ])("fit refuses %j", async (options, message) => {
    const text = await refusal(() => fitOf([good], options));
    expect(text).toMatch(/^e2cm\.fit: /);
    expect(text).toContain(message);
  });

  it("every other function refuses unknown ones and missing ones", async () => {
    const statistics = await accumulateStatistics(tinyModel(), [good], { classes: 4, features: "pooled", device });
    const fitted = await solveExits(tinyModel(), statistics, { device });
    const no = { nonsense: 1, device } as object;
    const runs = {
      accumulateStatistics: () => accumulateStatistics(tinyModel(), [good], { classes: 4, ...no }),
      fitFromStatistics: () => fitFromStatistics(tinyModel(), statistics, { calibration, ...no }),
      solveExits: () => solveExits(tinyModel(), statistics, no),
      recordScores: () => recordScores(tinyModel(), fitted, calibration, no),
      openClassifier: () => openClassifier(tinyModel(), fitted, no),
    };
    for (const [name, run] of Object.entries(runs)) {
      expect(await refusal(run)).toMatch(new RegExp(`^e2cm\\.${name}: .*unknown option "nonsense"`));
    }
    expect(await refusal(() => fitFromStatistics(tinyModel(), statistics, { device } as never))).toContain(
      'option "calibration"',
    );
  });
});

describe("fitted exits", () => {
  it("statistics of another model, or without Gram matrices, or a covariance that cannot be inverted", async () => {
    const statistics = await accumulateStatistics(tinyModel(), [good], { classes: 4, features: "pooled", device });
    const other = { ...statistics, modelHash: "ab".repeat(32) };
    expect(await refusal(() => fitFromStatistics(tinyModel(), other, { calibration, device }))).toMatch(
      /^e2cm\.fitFromStatistics: the exits were fitted on the model with sha256 abababab.*; got a model with sha256/,
    );
    const euclidean = await accumulateStatistics(tinyModel(), [good], { classes: 4, metric: "euclidean", device });
    expect(await refusal(() => solveExits(tinyModel(), euclidean, { device }))).toContain(
      'Accumulate with metric: "sharedCovariance".',
    );
    const few = await accumulateStatistics(tinyModel(), batches("train", 8).slice(0, 1), { classes: 4, device });
    expect(await refusal(() => solveExits(tinyModel(), few, { shrinkage: 0, device }))).toMatch(
      /^e2cm\.solveExits: the covariance at ".*" must be invertible; got one of 8 samples and \d+ features with shrinkage 0\./,
    );
    const wide = { ...statistics, exits: statistics.exits.map((exit) => ({ ...exit, d: exit.d + 1 })) };
    expect(await refusal(() => solveExits(tinyModel(), wide, { device }))).toMatch(/statistics of \d+ features at/);
    expect(
      await refusal(() => solveExits(tinyModel(), euclidean, { metric: "euclidean", last: "nearestMean", device })),
    ).toMatch(/^e2cm\.solveExits: last: "nearestMean" needs .*got no statistics of it.*Name "logits" as the last/);
  });

  it("no operating points, thresholds that do not fit, no samples to record, use after release", async () => {
    const statistics = await accumulateStatistics(tinyModel(), [good], { classes: 4, features: "pooled", device });
    const fitted = await solveExits(tinyModel(), statistics, { device });
    const open = (options: object) => openClassifier(tinyModel(), fitted, { device, ...options });
    expect(await refusal(() => open({}))).toMatch(
      /^e2cm\.openClassifier: .*got no operating points\. .*pass thresholds/,
    );
    const e = fitted.exits.length;
    expect(await refusal(() => open({ thresholds: [...Array(e + 1).fill(0.5)] }))).toContain(
      `thresholds for ${e} early exits; got ${e + 1}`,
    );
    expect(await refusal(() => open({ thresholds: Array(e).fill(Number.NaN) }))).toContain('option "thresholds.0"');
    expect(await refusal(() => recordScores(tinyModel(), fitted, [], { device }))).toMatch(
      /^e2cm\.recordScores: at least one batch/,
    );

    const classifier = await open({ thresholds: Array(e).fill(0.5) });
    expect(await refusal(() => classifier.classify(tensor("float32", [1, 3, 9, 9])))).toContain(
      "must be float32 [n, 3, 8, 8]",
    );
    expect(await refusal(() => classifier.classify(tensor("int32", [1, 3, 8, 8]) as never))).toContain(
      "got int32 [1, 3, 8, 8]",
    );
    expect((await classifier.classify(good.x)).predictions).toHaveLength(240);
    await classifier.release();
    await classifier.release();
    expect(await refusal(() => classifier.classify(good.x))).toBe(
      "e2cm.Classifier.classify: the classifier must be open; got a released one. Open it again.",
    );
  });

  it("a device that is closed", async () => {
    const closed: Device = await openDevice("cpu");
    await closed.close();
    expect(await refusal(() => fitOf([good], { device: closed }))).toContain("the device must be open");
  });
});
