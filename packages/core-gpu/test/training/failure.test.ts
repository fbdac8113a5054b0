import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Device,
  generator,
  gradients,
  openDevice,
  ops,
  type Runner,
  spec,
  tensor,
  trace,
  training,
} from "../../src/index.ts";
import { compileTiny, points } from "./tiny.ts";

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openDevice("cpu");
  folder = await mkdtemp(join(tmpdir(), "failure-"));
});
afterAll(async () => {
  await device.close();
  await rm(folder, { recursive: true, force: true });
});

/** w ← w · factor, v ← v + x, loss = mean(x) + v: factors and samples decide what overflows when. */
async function fragile(): Promise<Runner> {
  const program = trace(
    ({ params, x }) => ({
      loss: ops.add(ops.mean(x), ops.mul(params.v, 0)),
      params: { v: ops.add(params.v, ops.mean(x)), w: ops.mul(params.w, 1e20) },
    }),
    { params: { v: spec("float32", []), w: spec("float32", []) }, x: spec("float32", ["n"]) },
  );
  const params = { v: tensor("float32", []), w: tensor("float32", [], [1e-30]) };
  return device.compile(program, { state: ["params"], initial: { params } });
}

const options = async (x: readonly number[]) => ({
  runner: await fragile(),
  data: training.tensorDataset({ x: tensor("float32", [x.length], x) }),
  batchSize: 1,
  epochs: 1,
  generator: generator(1),
  shuffle: false,
});

async function failureOf(run: Promise<unknown>): Promise<training.TrainingError> {
  const error: unknown = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(training.TrainingError);
  return error as training.TrainingError;
}

test("a loss that is not finite ends the run with the step, the parameter and the checkpoint", async () => {
  const checkpoint = { folder: join(folder, "loss"), everySteps: 1 };
  const error = await failureOf(training.train({ ...(await options([1, 2, Number.NaN, 4])), checkpoint }));
  const last = join(folder, "loss", "step-0000000002");
  expect(error).toMatchObject({ step: 2, epoch: 0, batch: 2, parameter: "params.v", checkpoint: last });
  expect(error.message).toBe(
    `core-gpu.training.train: the loss was NaN in step 2 (epoch 0, batch 2). The first parameter that is not finite: "params.v". It began with input "x", which was fed so. The last good checkpoint: ${last}`,
  );
  const { tensors } = await training.readCheckpoint(last);
  expect(tensors.state!["params.v"]!.data[0]).toBe(3);
  const infinite = await failureOf(training.train(await options([Number.POSITIVE_INFINITY])));
  expect(infinite.message).toContain("the loss was Infinity in step 0 (epoch 0, batch 0).");
  expect(infinite.message).toContain("There is no checkpoint.");
});

test("a parameter that is not finite is not saved, though the loss is", async () => {
  const checkpoint = { folder: join(folder, "parameter"), everySteps: 1 };
  const error = await failureOf(training.train({ ...(await options([1, 1, 1, 1, 1, 1])), checkpoint }));
  const last = join(folder, "parameter", "step-0000000003");
  expect(error).toMatchObject({ step: 3, epoch: 0, batch: 3, parameter: "params.w", checkpoint: last });
  expect(error.message).toContain("a parameter became NaN or infinite in step 3");
  expect((await training.listCheckpoints(checkpoint.folder)).at(-1)).toBe(last);
});

test("a state that is not finite at the end of the run is found without a checkpoint too", async () => {
  const error = await failureOf(training.train(await options([1, 1, 1, 1])));
  expect(error).toMatchObject({ step: 3, parameter: "params.w", checkpoint: null });
  expect(error.message).toMatch(
    /a parameter became NaN or infinite in step 3 .* It began with ops\.mul of 1e\+30 and 100000000000000000000\./,
  );
});

test("a gradient that is NaN is found by the operator that made it, though the loss shows it a step later", async () => {
  const program = trace(
    ({ params, x }) => {
      const loss = ops.mean(ops.sqrt(ops.square(ops.mul(params.w, x))));
      return { loss, params: { w: ops.sub(params.w, gradients(loss, params.w)) } };
    },
    { params: { w: spec("float32", []) }, x: spec("float32", ["n"]) },
  );
  const initial = { params: { w: tensor("float32", [], [3]) } };
  const runner = await device.compile(program, { state: ["params"], initial });
  const error = await failureOf(training.train({ ...(await options([2, 1, 0, 1])), runner }));
  // √0 has an infinite slope, which 0 multiplies.
  expect(error).toMatchObject({ step: 3, parameter: "params.w" });
  expect(error.source).toBe("ops.div of 0.5 and 0, a step before");
});

describe("numbers of an epoch that are not finite", () => {
  const run = async (values: readonly number[], more: Partial<training.TrainOptions> = {}) => {
    const given = await options([0]);
    const told: (readonly string[])[] = [];
    const runner = await device.compile(
      trace(({ v, x }) => ({ loss: ops.mean(x), v: ops.add(v, 1) }), {
        v: spec("float32", []),
        x: spec("float32", ["n"]),
      }),
      { state: ["v"], initial: { v: tensor("float32", []) } },
    );
    const result = await training.train({
      ...given,
      runner,
      epochs: values.length,
      evaluate: ({ epoch }) => ({ error: values[epoch]! }),
      earlyStop: { metric: "error", patience: 3 },
      onEpoch: ({ notFinite }) => void told.push(notFinite),
      ...more,
    });
    return { result, told, v: Number((await runner.readState()).v!.data[0]) };
  };

  test.each([Number.NaN, Number.NEGATIVE_INFINITY])("%d first is not the best for ever", async (bad) => {
    const { result, told, v } = await run([bad, 3, 1, 2]);
    expect(result).toMatchObject({ stopped: "epochs", best: { epoch: 2, value: 1 } });
    expect(v).toBe(3);
    expect(told).toEqual([["error"], [], [], []]);
  });

  test("none but NaN: the run ends after its patience, with the last state", async () => {
    const { result, v } = await run([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
    expect(result).toMatchObject({ stopped: "earlyStop", steps: 3, best: null });
    expect(v).toBe(3);
  });

  test("are saved and read: a run with one resumes", async () => {
    const checkpoint = { folder: join(folder, "numbers"), keep: 1 };
    await run([Number.NaN, Number.POSITIVE_INFINITY], { checkpoint });
    const { result } = await run([9, 9, 5], { checkpoint, resume: true });
    expect(result.history.map(({ evaluation }) => evaluation.error)).toEqual([Number.NaN, Number.POSITIVE_INFINITY, 5]);
    expect(result.best).toEqual({ epoch: 2, value: 5 });
  });
});

test("batch norm over single samples is refused before a step", async () => {
  const given = {
    runner: await compileTiny(device),
    data: points(),
    epochs: 1,
    generator: generator(1),
    learningRate: 0.1,
  };
  const message =
    "core-gpu.training.train: batch norm needs more than one sample in every batch; got 22 samples in batches of 7. Pass dropLast: true, or another batchSize.";
  await expect(training.train({ ...given, batchSize: 7 })).rejects.toThrow(message);
  expect(await training.train({ ...given, batchSize: 7, dropLast: true })).toMatchObject({ steps: 3 });
});

test("a step that the runtime refuses ends the run with its message", async () => {
  const given = await options([1, 2, 3]);
  let steps = 0;
  const run: Runner["run"] = (...feeds) =>
    steps++ === 1 ? Promise.reject(new Error("device lost")) : given.runner.run(...feeds);
  const error = await failureOf(training.train({ ...given, runner: { ...given.runner, run } }));
  expect(error).toMatchObject({ step: 1, parameter: null, checkpoint: null });
  expect(error.message).toContain("the runtime failed (device lost) in step 1 (epoch 0, batch 1).");
  expect(error.cause).toEqual(new Error("device lost"));
});

test("data that fail end the run with their error, prefetched or not", async () => {
  for (const prefetch of [0, 1, 5]) {
    const given = await options([1, 2, 3]);
    const data: training.Dataset = {
      size: 3,
      batch: async (indices, random) => {
        if (indices[0] === 1) throw new Error("unreadable");
        return given.data.batch(indices, random);
      },
    };
    await expect(training.train({ ...given, data, prefetch })).rejects.toThrow("unreadable");
  }
});

describe("refused before anything runs:", () => {
  const tiny = async () => ({
    runner: await compileTiny(device),
    data: points(),
    batchSize: 8,
    epochs: 1,
    generator: generator(1),
    learningRate: 0.1,
  });
  const cases: [string, object, string][] = [
    ["an unknown option", { batches: 3 }, 'got unknown option "batches". Options: runner, data, batchSize'],
    ["a program that is not compiled", { runner: {} }, 'option "runner" must be a runner: what device.compile gives'],
    [
      "tensors for data",
      { data: { x: tensor("float32", [5]) } },
      'option "data" must be a dataset: training.tensorDataset',
    ],
    [
      "a seed for a generator",
      { generator: 1 },
      'option "generator" must be a random generator: generator(seed) (got 1)',
    ],
    ["half a sample", { batchSize: 0.5 }, 'got option "batchSize" invalid input: expected int'],
    ["no epochs", { epochs: 0 }, 'option "epochs" too small'],
    [
      "an output that is none",
      { collect: ["probabilities"] },
      'collected outputs must be outputs of shape [n, ...]; got "probabilities".',
    ],
    ["a scalar to collect", { collect: ["loss"] }, 'got "loss".'],
    [
      "no learning rate",
      { learningRate: undefined },
      "a learning rate is needed: the program has that input; got none.",
    ],
    [
      "a learning rate of NaN",
      { learningRate: () => Number.NaN },
      "the learning rate must be a finite number; got NaN for step 0.",
    ],
    [
      "batches larger than the data",
      { batchSize: 23, dropLast: true },
      "an epoch must have a batch; got 22 samples in batches of 23.",
    ],
    [
      "an early stop's unknown metric",
      { earlyStop: { metric: "f1" } },
      'must be one of the epoch\'s numbers; got "f1". There are loss.',
    ],
  ];
  test.each(cases)("%s", async (_, wrong, message) => {
    await expect(training.train({ ...(await tiny()), ...wrong })).rejects.toThrow(message);
  });

  test("a program without a loss, or that takes batches of one size", async () => {
    const compiled = (shape: readonly (number | string)[], name: string) =>
      device.compile(
        trace(({ x }) => ({ [name]: ops.mean(x) }), { x: spec("float32", shape) }),
        {},
      );
    const data = training.tensorDataset({ x: tensor("float32", [5]) });
    const rest = { data, batchSize: 2, epochs: 1, generator: generator(1) };
    await expect(training.train({ ...rest, runner: await compiled(["n"], "cost") })).rejects.toThrow(
      'the program must give a float "loss" of shape []; got outputs cost.',
    );
    const fixed = await compiled([2], "loss");
    await expect(training.train({ ...rest, runner: fixed })).rejects.toThrow(
      'input "x" takes batches of 2 only; got a last batch of 1. Pass dropLast: true',
    );
    expect(await training.train({ ...rest, runner: fixed, dropLast: true })).toMatchObject({ steps: 2 });
    await expect(training.train({ ...rest, runner: await compiled(["n"], "loss"), learningRate: 1 })).rejects.toThrow(
      "no learning rate is expected; got one for a program without the input learningRate.",
    );
  });
});
