import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Device, openDevice, schedules } from "@exitkit/core-gpu";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../src/cli.ts";
import { PICTURE_BYTES } from "../src/data/cifar.ts";
import type { Pictures } from "../src/data/pictures.ts";
import { EXPERIMENTS } from "../src/experiments/index.ts";
import { readResult } from "../src/experiments/result.ts";
import { spreadOf } from "../src/experiments/train-cifar10/index.ts";
import type { TrainCifar10Result } from "../src/experiments/train-cifar10/schema.ts";
import { openRun } from "../src/runs/run.ts";
import { type Progress, SILENT } from "../src/terminal/progress.ts";
import { FULL_RECIPE, type Recipe } from "../src/training/recipe.ts";
import { trainNetwork } from "../src/training/train-network.ts";
import { trainableResnet } from "../src/zoo/train-resnet.ts";
import { memory, temporaryFolder } from "./helpers.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

let environmentData: string | undefined;
beforeEach(() => {
  environmentData = process.env.EXITKIT_DATA;
  delete process.env.EXITKIT_DATA;
});
afterEach(() => {
  if (environmentData !== undefined) process.env.EXITKIT_DATA = environmentData;
});

/** Pictures whose every pixel says their class. */
const pictures: Pictures = {
  n: 40,
  shape: [3, 32, 32],
  pixels: Uint8Array.from({ length: 40 * PICTURE_BYTES }, (_, at) => (Math.floor(at / PICTURE_BYTES) % 4) * 80),
  labels: Int32Array.from({ length: 40 }, (_, row) => row % 4),
};
const recipe: Recipe = { ...FULL_RECIPE, epochs: 3, batch: 8, peakLearningRate: 0.05 };

async function train(folder: string, progress: Progress = SILENT) {
  const run = await openRun(folder, { test: "train" }, SILENT);
  const network = trainableResnet(8);
  return trainNetwork({ device, network, recipe, seed: 5, train: pictures, test: pictures, run, progress });
}

/** Progress whose stages fail in the middle of an epoch. */
function failing(after: number): Progress {
  let left = after;
  const advance = () => {
    if (--left < 0) throw new Error("pulled the plug");
  };
  return { ...SILENT, stage: () => ({ advance, done: () => {} }) };
}

describe("trainNetwork", () => {
  it("learns, and gives the same bits after an interruption in the middle of an epoch", async () => {
    const [whole, broken] = [join(await temporaryFolder(), "run"), join(await temporaryFolder(), "run")];
    const first = await train(whole);
    await expect(train(broken, failing(8))).rejects.toThrow("pulled the plug");
    const second = await train(broken);

    expect(first.curve.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(first.curve[2]!.trainLoss).toBeLessThan(first.curve[0]!.trainLoss);
    expect(first.row).toMatchObject({ network: "resnet8", seed: 5, pictures: 40, epochs: 3, steps: 15 });
    const schedule = schedules.oneCycle({ maximum: 0.05, steps: 15, rise: recipe.warmUp });
    first.curve.forEach(({ learningRate }, epoch) => {
      expect(learningRate).toBeCloseTo(schedule(5 * epoch + 4), 12);
    });
    const timeless = ({ curve }: typeof first) => curve.map(({ seconds: _, ...row }) => row);
    expect(timeless(second)).toEqual(timeless(first));
    const weights = (folder: string) => readFile(join(folder, "weights-seed5.safetensors"));
    expect((await weights(broken)).equals(await weights(whole))).toBe(true);
    const lines = (await readFile(join(whole, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { epoch: number }).epoch)).toEqual([1, 2, 3]);
  }, 60_000);
});

describe("train-cifar10", () => {
  async function bench(...args: string[]) {
    const [stdout, stderr] = [memory(), memory()];
    const code = await runCli(["run", "train-cifar10", "--device", "cpu", ...args], stdout, stderr);
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  }

  it("runs seeds one after the other, and its result is what the report reads", async () => {
    const out = join(await temporaryFolder(), "run");
    const { code, stdout } = await bench("--pictures", "128", "--epochs", "1", "--seeds", "2", "--out", out, "--json");
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as TrainCifar10Result;
    expect(result).toMatchObject({
      experiment: "train-cifar10",
      config: { seeds: 2, pictures: 128, epochs: 1 },
      ranOn: "cpu",
      data: { train: 128, test: 2500 },
      rows: [1, 2].map((seed) => ({ network: "resnet20", seed, pictures: 128, epochs: 1, steps: 2 })),
      spread: { seeds: 2 },
    });
    expect(result.rows[0]!.testLoss).not.toBe(result.rows[1]!.testLoss);
    expect(readResult(result, EXPERIMENTS, "the result").result).toMatchObject({ rows: [{ seed: 1 }, { seed: 2 }] });
    expect(await readFile(join(out, "report.html"), "utf8")).toContain("Learning, epoch by epoch");
  }, 120_000);

  it.each([
    [["--pictures", "5001"], "--pictures must be at most the 5000 of CIFAR-10 subset; got 5001"],
    [["--pictures", "100", "--epochs", "1"], "must make at least two steps of 64 pictures; got 100 pictures, 1 epochs"],
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await bench(...args, "--out", join(await temporaryFolder(), "run"));
    expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
  });

  it("has the recipe that the PyTorch peer reads", async () => {
    const peer = await readFile(new URL("../peers/recipe.json", import.meta.url), "utf8");
    expect(JSON.parse(peer)).toEqual(FULL_RECIPE);
  });

  it("says how far seeds lie apart", () => {
    const rows = [0.8, 0.9, 0.85].map((testAccuracy) => ({ testAccuracy }));
    const { deviation, ...rest } = spreadOf(rows)!;
    expect(rest).toEqual({ seeds: 3, mean: expect.closeTo(0.85, 12), least: 0.8, most: 0.9 });
    expect(deviation).toBeCloseTo(0.05, 12);
    expect(spreadOf(rows.slice(1, 2))).toBeUndefined();
  });
});
