// A device that disappears while it trains. What is real here: a WebGPU device (SwiftShader) that runs out of memory, a device
// closed under its run, a process that dies as a crashing driver ends it, a worker thread that ends. What is simulated: a
// device that fails each call from some moment on, as a card that was unplugged or reset does; SwiftShader cannot be unplugged.
// What cannot be shown without a card: that the runtime reports a reset at all, and does not hang in the driver.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Device,
  generator,
  openDevice,
  ops,
  type Runner,
  spec,
  tensor,
  trace,
  training,
} from "../../src/index.ts";
import { type Built, build } from "../support/built.ts";
import { compilePairs, compileTiny, jitter, points } from "./tiny.ts";

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openDevice("cpu");
  folder = await mkdtemp(join(tmpdir(), "device-lost-"));
});
afterAll(async () => {
  await device.close();
  await rm(folder, { recursive: true, force: true });
});

/** 5 batches an epoch: step 7 is the third batch of epoch 1. */
const options = (name: string) => ({
  data: points(jitter),
  batchSize: 5,
  epochs: 4,
  generator: generator(3),
  learningRate: 0.02,
  checkpoint: { folder: join(folder, name), everySteps: 2 },
});

async function failureOf(run: Promise<unknown>): Promise<training.TrainingError> {
  const error: unknown = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(training.TrainingError);
  return error as training.TrainingError;
}

/** A runner whose device is gone after so many runs: nothing works any more, whatever is asked. */
function lostAfter(runner: Runner, runs: number): Runner {
  let done = 0;
  const gone = () => Promise.reject(new Error("A valid external Instance reference no longer exists: device lost"));
  return {
    ...runner,
    run: (...feeds) => (done++ < runs ? runner.run(...feeds) : gone()),
    readState: () => (done < runs || runs === 0 ? runner.readState() : gone()),
    writeState: () => gone(),
  };
}

async function stateOf(runner: Runner) {
  return Object.entries(await runner.readState()).map(([name, { data }]) => [name, Array.from(data, Number)] as const);
}

/** The checkpoint is whole, and a run on another device goes on from it to the bits of a run that lost nothing. */
async function goesOn(name: string, step: number): Promise<void> {
  const newest = (await training.listCheckpoints(join(folder, name))).at(-1)!;
  expect(await training.readCheckpoint(newest)).toMatchObject({ step });
  const [whole, other] = [await compileTiny(device), await openDevice("cpu")];
  const { checkpoint: _, ...rest } = options(name);
  await training.train({ ...rest, runner: whole });
  const resumed = await compileTiny(other);
  expect(await training.train({ ...options(name), runner: resumed, resume: true })).toMatchObject({ steps: 20 });
  expect(await stateOf(resumed)).toEqual(await stateOf(whole));
  await other.close();
}

test.each([
  ["in a step", 7, "the runtime failed", { step: 7, epoch: 1, batch: 2 }, 6],
  [
    "before a checkpoint is written",
    8,
    "the state could not be read from the device",
    { step: 7, epoch: 1, batch: 2 },
    6,
  ],
  ["at the end of an epoch", 10, "the state could not be read from the device", { step: 9, epoch: 1, batch: 4 }, 8],
] as const)(
  "a device gone %s: the step, the checkpoint, and on from there",
  async (name, runs, what, position, last) => {
    const runner = lostAfter(await compileTiny(device), runs);
    const error = await failureOf(training.train({ ...options(name), runner }));
    const checkpoint = join(folder, name, `step-${String(last).padStart(10, "0")}`);
    expect(error).toMatchObject({ ...position, parameter: null, checkpoint });
    expect(error.message).toContain(`${what} (A valid external Instance reference no longer exists: device lost)`);
    expect(error.message).toContain(`in step ${position.step} (epoch 1, batch ${position.batch}).`);
    expect(error.message).toContain(`The last good checkpoint: ${checkpoint}`);
    expect(error.cause).toBeInstanceOf(Error);
    await goesOn(name, last);
  },
);

test("a device gone when the loss is NaN, or when the best state is put back", async () => {
  const program = trace(({ params, x }) => ({ loss: ops.mean(x), params }), {
    params: { w: spec("float32", []) },
    x: spec("float32", ["n"]),
  });
  const initial = { params: { w: tensor("float32", []) } };
  const given = async (x: readonly number[], runs: number) => ({
    runner: lostAfter(await device.compile(program, { state: ["params"], initial }), runs),
    data: training.tensorDataset({ x: tensor("float32", [x.length], x) }),
    batchSize: 1,
    epochs: 2,
    shuffle: false,
    generator: generator(1),
  });
  const bad = await failureOf(training.train(await given([1, Number.NaN], 2)));
  expect(bad.message).toContain("the state could not be read from the device");
  expect(bad).toMatchObject({ step: 1, checkpoint: null });
  const earlyStop = { metric: "loss", patience: 3, restoreBest: true };
  const late = await failureOf(training.train({ ...(await given([1, 2], 5)), earlyStop }));
  expect(late.message).toContain("the best state could not be written to the device");
  expect(late).toMatchObject({ step: 3, epoch: 1, batch: 1 });
});

test("a device that is closed, and a runner that is released, under the run", async () => {
  for (const name of ["closed", "released"]) {
    const other = await openDevice("cpu");
    const runner = await compileTiny(other);
    const onStep = async ({ step }: { step: number }) => {
      if (step === 6) await (name === "closed" ? other.close() : runner.release());
    };
    const error = await failureOf(training.train({ ...options(name), runner, onStep }));
    expect(error).toMatchObject({ step: 7, checkpoint: join(folder, name, "step-0000000006") });
    expect(error.message).toContain("the runner must be open; got a released one.");
    await other.close();
    await goesOn(name, 6);
  }
});

describe("a worker that makes the batches", () => {
  let built: Built;
  beforeAll(async () => {
    built = await build("test/training/batch-worker.ts");
  });
  afterAll(() => built.remove());

  test.each([0, 2])("and is killed, %i batches ahead: the step and the checkpoint", async (prefetch) => {
    const made = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(built.entry, { workerData: { mode: "serves", made } });
    const data = await training.workerDataset(worker);
    const program = trace(
      ({ params, x, y }) => {
        const mean = ops.add(ops.mean(x), ops.cast(ops.sum(y), "float32"));
        return { loss: mean, params: { w: ops.add(ops.mul(params.w, 0.9), mean) } };
      },
      { params: { w: spec("float32", []) }, x: spec("float32", ["n", 2]), y: spec("int64", ["n"]) },
    );
    const compile = () =>
      device.compile(program, { state: ["params"], initial: { params: { w: tensor("float32", []) } } });
    const own = () => ({ batchSize: 1, epochs: 4, generator: generator(3), prefetch });
    const checkpoint = { folder: join(folder, `worker-${prefetch}`), everySteps: 1 };
    const onStep = async ({ step }: { step: number }) => {
      if (step === 6) await worker.terminate();
    };
    const error = await failureOf(training.train({ ...own(), data, checkpoint, runner: await compile(), onStep }));
    // What was made ahead is still used.
    expect(error.step).toBeGreaterThanOrEqual(7);
    expect(error.step).toBeLessThanOrEqual(7 + prefetch);
    expect(error.message).toContain("the data failed (core-gpu.training.workerDataset: the worker must go on until");
    const path = join(checkpoint.folder, `step-${String(error.step).padStart(10, "0")}`);
    expect(error.checkpoint).toBe(path);
    expect(await training.readCheckpoint(path)).toMatchObject({ step: error.step });

    const fresh = await training.workerDataset(new Worker(built.entry, { workerData: { mode: "serves", made } }));
    const [resumed, whole] = [await compile(), await compile()];
    await training.train({ ...own(), data: fresh, checkpoint, runner: resumed, resume: true });
    await training.train({ ...own(), data: fresh, runner: whole });
    expect(await stateOf(resumed)).toEqual(await stateOf(whole));
    await fresh.close();
  });
});

const driver = { folder: "/usr/lib/chromium", file: "/usr/lib/chromium/vk_swiftshader_icd.json" };
const installed = existsSync(driver.file);
const title = installed
  ? "WebGPU over SwiftShader: out of memory or dead in the middle; the CPU goes on from the checkpoint"
  : `WebGPU lost in the middle: skipped, there is no ${driver.file} (Debian package chromium)`;

interface Lost {
  readonly signal: NodeJS.Signals | null;
  readonly error: { name: string; message: string; step: number; checkpoint: string } | null;
}

function lose(how: string): Promise<Lost> {
  const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const register = path("../support/register-typescript.mjs");
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--import", register, path("lost-child.ts"), join(folder, how), how], {
      env: { ...process.env, VK_DRIVER_FILES: driver.file, LD_LIBRARY_PATH: driver.folder },
    });
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
    });
    child.stderr.resume();
    child.on("error", reject);
    child.on("close", (_, signal) => {
      const report = /REPORT(.*)/.exec(said)?.[1];
      resolve({ signal, error: report === undefined ? null : JSON.parse(report) });
    });
  });
}

test.skipIf(!installed)(title, { timeout: 300_000 }, async () => {
  const own = () => ({ data: points(), batchSize: 5, epochs: 4, generator: generator(3) });
  const whole = await compilePairs(device);
  await training.train({ ...own(), runner: whole });
  const [[, expected]] = (await stateOf(whole)) as [readonly [string, number[]]];
  // One after the other: a device that is opened while others compute may seem to hang.
  for (const how of ["memory", "killed"]) {
    const lost = await lose(how);
    const last = join(folder, how, "step-0000000006");
    if (how === "killed") expect(lost).toEqual({ signal: "SIGKILL", error: null });
    else {
      expect(lost.error).toMatchObject({ name: "TrainingError", step: 7, checkpoint: last });
      expect(lost.error?.message).toContain(
        "the runtime failed (core-gpu.Runner.run: ONNX Runtime must be able to run",
      );
    }
    expect(await training.readCheckpoint(last)).toMatchObject({ step: 6 });
    const resumed = await compilePairs(device);
    const checkpoint = { folder: join(folder, how), everySteps: 2 };
    expect(await training.train({ ...own(), runner: resumed, checkpoint, resume: true })).toMatchObject({ steps: 20 });
    // The first six steps were the card's.
    const [[, found]] = (await stateOf(resumed)) as [readonly [string, number[]]];
    found.forEach((value, at) => {
      expect(Math.abs(value - expected[at]!)).toBeLessThan(1e-4);
    });
  }
});
