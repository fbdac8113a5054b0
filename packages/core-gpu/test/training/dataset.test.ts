import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generator, ops, type Runner, spec, tensor, trace, training } from "../../src/index.ts";
import { exactNumbers, restoreNumbers } from "../../src/training/exact-json.ts";
import { type Built, build } from "../support/built.ts";
import { noisy } from "./noisy.ts";

test("a batch is the rows asked for", async () => {
  const data = training.tensorDataset({
    x: tensor("float32", [3, 2], [0, 1, 2, 3, 4, 5]),
    y: tensor("int64", [3], [7, 8, 9]),
  });
  const { x, y } = await data.batch(Int32Array.of(2, 0, 2), generator(1));
  expect(x).toEqual(tensor("float32", [3, 2], [4, 5, 0, 1, 4, 5]));
  expect(y).toEqual(tensor("int64", [3], [9, 7, 9]));
});

test("datasets of no or unequal rows are refused, and rows there are not", () => {
  expect(() => training.tensorDataset({})).toThrow(
    "core-gpu.training.tensorDataset: tensors of one row for each sample are needed; got none.",
  );
  expect(() => training.tensorDataset({ x: tensor("float32", []) })).toThrow('got "x" of shape [].');
  expect(() => training.tensorDataset({ x: tensor("float32", [2]), y: tensor("int64", [3]) })).toThrow(
    'all tensors must have 2 rows, as "x"; got 3 in "y".',
  );
  expect(() => training.takeRows(tensor("float32", [2]), Int32Array.of(2))).toThrow("rows 0 to 1; got 2.");
});

test("a crop is the padded picture at some offset, each equally likely", () => {
  const picture = tensor(
    "float32",
    [1, 2, 3, 4],
    Array.from({ length: 24 }, (_, index) => index + 1),
  );
  const padded = (channel: number, row: number, column: number) =>
    row < 0 || row >= 3 || column < 0 || column >= 4 ? 0 : picture.data[(channel * 3 + row) * 4 + column]!;
  const shifted = (down: number, right: number) =>
    Array.from({ length: 24 }, (_, at) =>
      padded(Math.floor(at / 12), (Math.floor(at / 4) % 3) + down, (at % 4) + right),
    ).join();
  const possible = new Map<string, number>();
  for (const down of [-1, 0, 1]) for (const right of [-1, 0, 1]) possible.set(shifted(down, right), 0);
  expect(possible.size).toBe(9);
  const random = generator(3);
  for (let draw = 0; draw < 900; draw++) {
    const key = training.randomCrop(picture, 1, random).data.join();
    expect(possible.has(key)).toBe(true);
    possible.set(key, possible.get(key)! + 1);
  }
  for (const count of possible.values()) expect(Math.abs(count - 100)).toBeLessThan(50);
  expect(training.randomCrop(picture, 0, random)).toEqual(picture);
});

test("a crop far outside the picture is empty", () => {
  const picture = tensor("float32", [40, 1, 2, 2]);
  picture.data.fill(1);
  const cropped = training.randomCrop(picture, 5, generator(2));
  const sums = Array.from({ length: 40 }, (_, at) =>
    cropped.data.subarray(at * 4, at * 4 + 4).reduce((a, b) => a + b, 0),
  );
  expect(sums).toContain(0);
  for (const sum of sums) expect([0, 1, 2, 4]).toContain(sum);
});

test("a flip mirrors whole pictures, half of them", () => {
  const n = 400;
  const x = tensor(
    "float32",
    [n, 2, 1, 3],
    Array.from({ length: n * 6 }, (_, index) => index % 6),
  );
  const flipped = training.randomFlip(x, generator(5));
  let count = 0;
  for (let at = 0; at < n; at++) {
    const picture = [...flipped.data.subarray(at * 6, at * 6 + 6)].join();
    expect(["0,1,2,3,4,5", "2,1,0,5,4,3"]).toContain(picture);
    if (picture === "2,1,0,5,4,3") count++;
  }
  expect(Math.abs(count - n / 2)).toBeLessThan(60);
  expect(() => training.randomFlip(tensor("float32", [2, 3]), generator(1))).toThrow(
    "core-gpu.training.randomFlip: x must be [n, c, h, w]; got [2, 3].",
  );
});

describe("a worker", () => {
  let worker: Built;
  beforeAll(async () => {
    worker = await build("test/training/batch-worker.ts");
  });
  afterAll(() => worker.remove());
  const start = (mode: string, made = new Int32Array(new SharedArrayBuffer(4))) =>
    new Worker(worker.entry, { workerData: { mode, made } });

  test("makes the batches that this thread would make", async () => {
    const remote = await training.workerDataset(start("serves"));
    const here = noisy();
    expect(remote.size).toBe(5);
    const ask = (data: training.Dataset, seed: number) => data.batch(Int32Array.of(seed, 3), generator(seed));
    const answers = await Promise.all([1, 2, 1].map((seed) => ask(remote, seed)));
    expect(answers).toEqual([await ask(here, 1), await ask(here, 2), await ask(here, 1)]);
    await expect(remote.batch(Int32Array.of(99), generator(1))).rejects.toThrow(
      'the worker must make the batch; got the error "core-gpu.training.takeRows: rows 0 to 4; got 99."',
    );
    await remote.close();
  });

  test("that ends is missed by what waits for it and by what comes after", async () => {
    const remote = await training.workerDataset(start("hangs"));
    const waiting = expect(remote.batch(Int32Array.of(1), generator(1))).rejects.toThrow(
      "the worker must go on until it is closed; got its end with code 1.",
    );
    await remote.close();
    await waiting;
    await expect(remote.batch(Int32Array.of(1), generator(1))).rejects.toThrow("got its end with code 1.");
  });

  /** In how many of the 4 steps before the last the next batch was made while this thread was blocked, as it is by ONNX Runtime. */
  async function overlapping(prefetch: number, patience: number): Promise<number> {
    const made = new Int32Array(new SharedArrayBuffer(4));
    const remote = await training.workerDataset(start("serves", made));
    let [steps, overlaps] = [0, 0];
    const program = trace(({ x }) => ({ loss: ops.mean(x) }), { x: spec("float32", ["n", 2]) });
    const runner: Runner = {
      program,
      run: async () => {
        const before = ++steps;
        if (before === remote.size) return { loss: tensor("float32", [], [0]) };
        const until = performance.now() + patience;
        while (Atomics.load(made, 0) === before && performance.now() < until) Atomics.wait(made, 0, before, patience);
        if (Atomics.load(made, 0) > before) overlaps++;
        return { loss: tensor("float32", [], [0]) };
      },
      readState: async () => ({}),
      writeState: async () => undefined,
      release: async () => undefined,
    };
    await training.train({ runner, data: remote, batchSize: 1, epochs: 1, generator: generator(1), prefetch });
    await remote.close();
    return overlaps;
  }

  test("makes the next batch while a step blocks this thread, if it was asked to", async () => {
    expect(await overlapping(1, 4000)).toBe(4);
    expect(await overlapping(0, 20)).toBe(0);
  });

  test("that fails at once is told of, and the main thread serves nothing", async () => {
    await expect(training.workerDataset(start("throws"))).rejects.toThrow('got the error "no data here"');
    expect(() => training.serveBatches({ size: 1, batch: () => ({}) }, null)).toThrow("got the main thread.");
  });
});

test("exact numbers survive JSON", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.oneof(fc.double(), fc.array(fc.double()))), (value) => {
      expect(restoreNumbers(JSON.parse(JSON.stringify(exactNumbers(value))))).toEqual({ ...value });
    }),
  );
});
