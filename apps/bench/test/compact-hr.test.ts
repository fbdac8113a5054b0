import { readFileSync } from "node:fs";
import { exitLogits, openPlain, openSegmenter } from "@exitkit/cbt";
import {
  generator,
  layers,
  openDevice,
  optimisers,
  type Spec,
  type Tensor,
  type TreeRecord,
  tensor,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { classBalance, croppedFrames, SEGMENTER_RECIPE, segmenterStep } from "../src/training/train-segmenter.ts";
import { initCompactHr, pretrainedCompactHr } from "../src/zoo/compact-hr.ts";

let device: Awaited<ReturnType<typeof openDevice>>;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

interface Golden {
  readonly size: readonly [number, number];
  readonly logits: readonly (readonly number[])[];
  readonly shapes: readonly (readonly number[])[];
}
const golden: Golden = JSON.parse(readFileSync(new URL("../fixtures/compact-hr.json", import.meta.url), "utf8"));

/** The frame of the fixture. */
function frameOf([h, w]: readonly [number, number]): Tensor<"float32"> {
  const x = tensor("float32", [1, 3, h, w]);
  for (let c = 0; c < 3; c++) {
    for (let row = 0; row < h; row++) {
      for (let column = 0; column < w; column++) {
        x.data[(c * h + row) * w + column] =
          Math.sin(0.3 * row + 0.17 * column + c) + 0.5 * Math.cos(0.05 * row * (c + 1));
      }
    }
  }
  return x;
}

describe("the compact network of the repository", () => {
  it("gives PyTorch's logits at every exit; a side that 32 does not divide", async () => {
    const { network } = await pretrainedCompactHr(golden.size);
    const labels = tensor("uint8", [1, ...golden.size]);
    for await (const { logits } of exitLogits(network, [{ x: frameOf(golden.size), labels }], { device })) {
      expect(logits.map(({ shape }) => shape)).toEqual(golden.shapes);
      logits.forEach(({ data }, exit) => {
        const every = exit < 3 ? 1 : 7;
        golden.logits[exit]!.forEach((value, at) => {
          expect(Math.abs(data[at * every]! - value), `exit ${exit}, ${at}`).toBeLessThan(2e-3);
        });
      });
    }
  });

  it("with nothing done answers as the plain network, dense and gathered", async () => {
    const { network } = await pretrainedCompactHr(golden.size);
    const frame = frameOf(golden.size);
    const plain = await openPlain(network, { device });
    const expected = [...(await plain.segment(frame)).data];
    await plain.release();
    for (const execution of ["dense", "pixels"] as const) {
      const segmenter = await openSegmenter(network, { thresholds: 2, execution, device });
      const { data } = (await segmenter.segment(frame)).classes;
      // Sums in another order: a pixel in a thousand may be on the other side of a tie.
      const others = expected.filter((id, at) => id !== data[at]).length;
      expect(others / expected.length).toBeLessThan(1e-3);
      await segmenter.release();
    }
  });

  it("refuses sides that 8 does not divide", async () => {
    await expect(pretrainedCompactHr([100, 64])).rejects.toThrow(/divisible by 8; got 100 × 64/);
  });
});

describe("its training", () => {
  const recipe = { ...SEGMENTER_RECIPE, batch: 2, crop: [64, 64] as const, scale: [0.5, 0.5] as const, light: 1 };
  const frames = [0, 1].map((frame) => ({
    colours: tensor("uint8", [64, 64, 3], new Uint8Array(64 * 64 * 3).fill(100 + frame)),
    labels: tensor(
      "uint8",
      [64, 64],
      Uint8Array.from({ length: 64 * 64 }, (_, at) => (at % 64 < 32 ? 0 : 1)),
    ),
  }));
  const norm = { channels: "rgb", mean: [0, 0, 0], deviation: [1, 1, 1] } as const;

  it("crops: what lies outside the frame has no label, and colours move with labels", async () => {
    const { x, y } = await croppedFrames(frames, recipe, norm, 255).batch(Int32Array.of(0, 1), generator(1));
    const [colours, labels] = [x!.data as Float32Array, y!.data as BigInt64Array];
    // Frames at half their size fill a quarter of the crop.
    expect(labels.filter((id) => id !== 255n).length).toBeLessThan(0.3 * labels.length);
    expect(labels.filter((id) => id !== 255n).length).toBeGreaterThan(0.2 * labels.length);
    for (let at = 0; at < 256; at++) {
      const [row, column] = [4 * Math.floor(at / 16) + 2, 4 * (at % 16) + 2];
      const inside = colours[row * 64 + column]! !== 0 && colours[(row - 1) * 64 + column - 1]! !== 0;
      if (labels[at] !== 255n) expect(colours[row * 64 + column]! > 0 || inside).toBe(true);
    }
  });

  it("classes that are rare weigh more, with mean 1", () => {
    const labels = tensor(
      "uint8",
      [10, 10],
      Uint8Array.from({ length: 100 }, (_, at) => (at < 90 ? 0 : at < 98 ? 1 : 255)),
    );
    const { data } = classBalance([{ colours: tensor("uint8", [10, 10, 3]), labels }], 2);
    expect(data[1]! / data[0]!).toBeCloseTo(Math.log(1.02 + 90 / 98) / Math.log(1.02 + 8 / 98), 6);
    expect(data[0]! + data[1]!).toBeCloseTo(2, 6);
  });

  it("ignored pixels have no influence on loss or parameters", async () => {
    const params = initCompactHr(generator(1)) as unknown as TreeRecord<Tensor>;
    const optimiser = optimisers.sgd({});
    const state = optimiser.init(layers.trainable<object>(params) as TreeRecord<Tensor>);
    const specs = {
      params: layers.specsOf<TreeRecord<Spec>>(params),
      optimiser: layers.specsOf<TreeRecord<Spec>>(state),
    };
    const program = segmenterStep(recipe, optimiser, tensor("float32", [11], new Array(11).fill(1)), 255, specs);
    const losses = [];
    const random = generator(2);
    const x = tensor(
      "float32",
      [2, 3, 64, 64],
      Array.from({ length: 2 * 3 * 64 * 64 }, () => random.normal()),
    );
    const y = tensor(
      "int64",
      [2, 16, 16],
      BigInt64Array.from({ length: 512 }, () => 255n),
    );
    const scalar = (value: number) => tensor("float32", [], [value]);
    const runner = await device.compile(program, {
      state: ["params", "optimiser"],
      initial: { params, optimiser: state },
    });
    const feeds = { x, y, threshold: scalar(2), learningRate: scalar(0.1) };
    losses.push(Number((await runner.run(feeds)).loss!.data[0]));
    const weight = (await runner.readState())["params.stem.conv.weight"]!;
    await runner.release();
    expect(losses).toEqual([0]);
    expect([...(weight.data as Float32Array)]).toEqual([
      ...((params.stem as never as { conv: { weight: Tensor } }).conv.weight.data as Float32Array),
    ]);
  }, 60_000);
});
