import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import {
  countMacs,
  type Device,
  describeModel,
  hashModel,
  openDevice,
  probeShapes,
  proposeCuts,
  readModel,
  writeModel,
} from "@exitkit/core-gpu";
import { type ClassMeansExit, exitRecord, fit, recordScores } from "@exitkit/e2cm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { batches, oneBatch } from "../src/data/batches.ts";
import { type Dataset, openDataset } from "../src/data/directory.ts";
import { slicePictures } from "../src/data/pictures.ts";
import { cifar10 } from "../src/data/sets/index.ts";
import type { Backbone } from "../src/zoo/backbone.ts";
import { pretrained, resnet } from "../src/zoo/resnet.ts";
import { wideResnet16x4 } from "../src/zoo/wide-resnet.ts";

/** One exit of the paper's method, by PyTorch in float64. */
interface GoldenMeans {
  readonly means: readonly number[][];
  readonly meanDistances: readonly number[];
  readonly distances: readonly number[][];
  readonly nearest: readonly number[];
  readonly confidences: Readonly<Record<"raw" | "normalised" | "perSampleMaximum", readonly number[]>>;
}

const golden = JSON.parse(await readFile(new URL("../fixtures/networks.json", import.meta.url), "utf8"));

let device: Device;
let data: Dataset;
beforeAll(async () => {
  device = await openDevice("cpu");
  data = await openDataset(cifar10, undefined);
});
afterAll(() => device.close());

/** Logits of the first test pictures, [pictures · 10]. */
async function logitsOf(backbone: Backbone, pictures = 64): Promise<Float32Array> {
  const session = await device.load(backbone.model);
  const { logits } = await session.run({ input: oneBatch(slicePictures(data.test, 0, pictures)).x });
  await session.release();
  expect(logits!.shape).toEqual([pictures, 10]);
  return logits!.data as Float32Array;
}

describe.each(["resnet20", "resnet56"] as const)("%s", (name) => {
  it.each([true, false])("gives PyTorch's logits (batch norm folded: %s)", async (folded) => {
    const logits = await logitsOf(await pretrained(name, { folded }));
    const expected: number[] = golden.networks[name].logits.flat();
    const worst = Math.max(...expected.map((value, index) => Math.abs(value - logits[index]!)));
    // Logits reach ±25; float32 rounding through the network moves them by less than a thousandth.
    expect(worst).toBeLessThan(1e-3);
  });

  it("gives PyTorch's class means, distances and confidences on the same weights", async () => {
    const backbone = await pretrained(name);
    const train = slicePictures(data.train, 0, 256);
    const fitted = await fit(backbone.model, () => batches(train, 64), {
      classes: 10,
      metric: "euclidean",
      taps: [1, 2, 3].map((group) => backbone.blocks[(group * (backbone.blocks.length - 1)) / 3]!),
      calibration: batches(train, 64),
      device,
    });
    const test = slicePictures(data.test, 0, 64);
    const scores = await recordScores(backbone.model, fitted, batches(test, 64), { device });
    const apart = (actual: ArrayLike<number>, expected: readonly number[]) =>
      Math.max(...expected.map((value, index) => Math.abs(value - actual[index]!))) /
      Math.max(...expected.map(Math.abs));
    golden.networks[name].classMeans.forEach((expected: GoldenMeans, index: number) => {
      const exit = fitted.exits[index] as ClassMeansExit;
      const d = exit.map.d;
      const sampled = expected.means.flatMap((row, k) => row.map((_, i) => exit.means[k * d + 499 * i]!));
      expect(apart(sampled, expected.means.flat())).toBeLessThan(1e-5);
      expect(apart(exit.distances, expected.meanDistances)).toBeLessThan(1e-5);
      expect(apart(scores.scores[index]!, expected.distances.flat())).toBeLessThan(1e-5);
      for (const rule of ["raw", "normalised", "perSampleMaximum"] as const) {
        const record = exitRecord(fitted, scores, { rule });
        expect(apart(record.confidences[index]!, expected.confidences[rule])).toBeLessThan(1e-3);
        expect([...record.predictions[index]!]).toEqual(expected.nearest);
      }
    });
  }, 60_000);

  it("names its blocks, where proposeCuts finds them too", async () => {
    const backbone = await pretrained(name);
    const depth = name === "resnet20" ? 20 : 56;
    expect(backbone.blocks).toHaveLength((depth - 2) / 2 + 1);
    expect(proposeCuts(backbone.model)).toEqual(backbone.blocks);
    expect(describeModel(backbone.model)).toMatchObject({
      inputs: [{ name: "input", dtype: "float32", shape: ["n", 3, 32, 32] }],
      outputs: [{ name: "logits", dtype: "float32", shape: ["n", 10] }],
    });
    expect(hashModel(readModel(writeModel(backbone.model)))).toBe(hashModel(backbone.model));
    expect(backbone.weights.file).toMatch(new RegExp(`^${name}-.*safetensors$`));
  });
});

/** Every pretrained network of the repository. */
describe.each(["resnet8", "resnet20", "resnet32", "resnet44", "resnet56"] as const)("%s", (name) => {
  it("answers all 2,500 bundled test pictures exactly as PyTorch does", async () => {
    const backbone = await pretrained(name);
    const session = await device.load(backbone.model);
    const answers = new Uint8Array(data.test.n);
    let at = 0;
    let correct = 0;
    for await (const { x, y } of batches(data.test, 250, backbone.normalisation)) {
      const scores = (await session.run({ input: x })).logits!.data as Float32Array;
      for (let row = 0; row < y.length; row++) {
        const one = scores.subarray(row * 10, row * 10 + 10);
        const answer = one.indexOf(Math.max(...one));
        answers[at++] = answer;
        if (answer === y[row]) correct++;
      }
    }
    await session.release();
    expect(correct).toBe(golden.networks[name].correctOf2500);
    expect(createHash("sha256").update(answers).digest("hex")).toBe(golden.networks[name].predictionsSha256);
  }, 60_000);
});

describe("resnet8", () => {
  it("gives the logits of the same weights in float64", async () => {
    const backbone = await pretrained("resnet8");
    const session = await device.load(backbone.model);
    const { logits } = await session.run({
      input: oneBatch(slicePictures(data.test, 0, 64), backbone.normalisation).x,
    });
    await session.release();
    const expected: number[] = golden.networks.resnet8.logits.flat();
    const worst = Math.max(...expected.map((value, index) => Math.abs(value - (logits!.data as Float32Array)[index]!)));
    expect(worst).toBeLessThan(1e-3);
  });

  it("costs what counting by hand gives", async () => {
    const { model, blocks } = await pretrained("resnet8");
    const stem = 3 * 16 * 9 * 1024;
    const first = 2 * 16 * 16 * 9 * 1024;
    const second = 16 * 32 * 9 * 256 + 32 * 32 * 9 * 256 + 16 * 32 * 256;
    const third = 32 * 64 * 9 * 64 + 64 * 64 * 9 * 64 + 32 * 64 * 64;
    expect(countMacs(model, await probeShapes(device, model)).total).toBe(stem + first + second + third + 640);
    expect(blocks).toHaveLength(4);
  });
});

describe("resnet", () => {
  it("costs what counting by hand gives", async () => {
    const { model } = await pretrained("resnet20");
    // Stem 3·16·9·32²; group 1: 6 of 16·16·9·32²; groups 2, 3: one of half and five of the same size; linear 64·10.
    const conv = 16 * 16 * 9 * 1024;
    const byHand = 3 * 16 * 9 * 1024 + 6 * conv + 2 * (conv / 2 + 5 * conv) + 640;
    expect(countMacs(model, await probeShapes(device, model)).total).toBe(byHand);
  });

  it("refuses other depths and missing weights", () => {
    expect(() => resnet(21, {})).toThrow(/bench\.resnet: depth must be 6·b \+ 2 with a whole b ≥ 1; got 21/);
    expect(() => resnet(20, {}, { folded: false })).toThrow(/weights must hold every layer's; got no "conv1\.weight"/);
  });
});

describe("wideResnet16x4", () => {
  it("has WRN-16-4's number of parameters, finite answers, and the seed decides", async () => {
    const backbone = wideResnet16x4(3);
    // The paper rounds to 2.7 million; the exact number is the sum over the layers by hand, batch norms' scale and bias too.
    const count = describeModel(backbone.model)
      .initializers.filter(({ name }) => name.startsWith("weights.") && !name.includes("running"))
      .reduce((sum, { shape }) => sum + shape.reduce<number>((size, dimension) => size * (dimension as number), 1), 0);
    expect(count).toBe(2_748_890);
    const logits = await logitsOf(backbone, 4);
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(await logitsOf(wideResnet16x4(3), 4)).toEqual(logits);
    expect(await logitsOf(wideResnet16x4(4), 4)).not.toEqual(logits);
  }, 30_000);
});
