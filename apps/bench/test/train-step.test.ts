import { type Device, openDevice } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measureStep } from "../src/experiments/train-step/measure.ts";
import { openStep, type StepModel } from "../src/experiments/train-step/step-runner.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

describe("measureStep", () => {
  it("gives pictures and arithmetic a second of the same median", async () => {
    const row = await measureStep(device, "resnet20", 1, { budget: 0, least: 3 }, 2);
    expect(row).toMatchObject({
      model: "resnet20",
      batch: 2,
      device: "cpu",
      unit: "pictures",
      runs: 3,
      parameters: 269_722,
    });
    expect(row.imagesPerSecond).toBeCloseTo(2000 / row.stepMs, 9);
    expect(row.gflops / row.imagesPerSecond).toBeCloseTo((6 * 40_551_040) / 1e9, 9);
    const [lower, upper] = row.stepQuartiles;
    expect(lower <= row.stepMs && row.stepMs <= upper).toBe(true);
  }, 30_000);

  it("refuses other networks and batches", async () => {
    await expect(openStep(device, "alexnet" as StepModel)).rejects.toThrow(
      'bench.openStep: the model must be one of resnet20, resnet56, vit, decoder; got "alexnet"',
    );
    await expect(openStep(device, "vit", 0)).rejects.toThrow(
      "bench.openStep: the batch must be a whole number ≥ 1; got 0",
    );
  });
});
