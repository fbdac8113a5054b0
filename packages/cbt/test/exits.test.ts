import { readFileSync } from "node:fs";
import { type Device, generator, openDevice, ops, tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  exitLogits,
  fitCarries,
  fitPixelExits,
  openSegmenter,
  type SegmentationNetwork,
  withCarries,
  withPixelExits,
} from "../src/index.ts";
import { frameOf } from "./networks.ts";

const golden = JSON.parse(readFileSync(new URL("../fixtures/exits.json", import.meta.url), "utf8")) as {
  readonly frames: number[];
  readonly labels: number[];
  readonly logits: number[];
  readonly carry: number[];
  readonly explained: number;
};

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** Frames [3, 12, 10] whose tap is every second pixel. */
const halved: SegmentationNetwork = {
  frame: [3, 12, 10],
  classes: 3,
  stages: [
    { compute: ({ frame }) => ({ x: ops.averagePool(frame!, { kernel: 2 }) }), tap: "x" },
    {
      compute: ({ frame, x }, carry) => ({
        own: carry(ops.tanh(ops.sum(x!, { axes: [1], keepDimensions: true })), x!),
        logits: ops.mul(frame!, 1),
      }),
      tap: "logits",
    },
  ],
};
const frames = tensor("float32", [4, 3, 12, 10], golden.frames);
const labels = tensor("uint8", [4, 12, 10], golden.labels);

describe("exits without training, against NumPy", () => {
  it.each([4, 1])("class means with a shared covariance, %i frames a batch", async (size) => {
    const batches = Array.from({ length: 4 / size }, (_, at) => ({
      x: tensor("float32", [size, 3, 12, 10], frames.data.slice(at * size * 360, (at + 1) * size * 360)),
      labels: tensor("uint8", [size, 12, 10], labels.data.slice(at * size * 120, (at + 1) * size * 120)),
    }));
    const exits = await fitPixelExits(halved, batches, { windows: [1, 3], shrinkage: 0.1, device });
    const network = withPixelExits(halved, exits);
    const logits: number[] = [];
    for await (const batch of exitLogits(network, [{ x: frames, labels }], { device })) {
      expect(batch.logits.map(({ shape }) => shape)).toEqual([
        [1, 3, 6, 5],
        [1, 3, 12, 10],
      ]);
      logits.push(...batch.logits[0]!.data);
    }
    expect(logits.length).toBe(golden.logits.length);
    // Up to a constant of the pixel, log posteriors: compared as they are, for both are written the same way.
    golden.logits.forEach((value, at) => {
      expect(logits[at]).toBeCloseTo(value, 3);
    });
  });

  it.each([300, 3000, 10_000])("answer as at 0 with a common offset of %d", async (offset) => {
    const random = generator(3);
    // Multiples of 1/64, which float32 holds at 10,000 too.
    const x = tensor(
      "float32",
      [2, 2, 8, 8],
      Array.from({ length: 256 }, () => Math.round(64 * random.normal()) / 64),
    );
    const truth = tensor(
      "uint8",
      [2, 8, 8],
      Array.from({ length: 128 }, (_, at) => (x.data[at + 64 * Math.floor(at / 64)]! > 0 ? 1 : 0)),
    );
    const logitsAt = async (added: number) => {
      const network: SegmentationNetwork = {
        frame: [2, 8, 8],
        classes: 2,
        stages: [
          { compute: ({ frame }) => ({ x: ops.add(frame!, added) }), tap: "x" },
          { compute: ({ frame }) => ({ logits: ops.mul(frame!, 1) }), tap: "logits" },
        ],
      };
      const exits = await fitPixelExits(network, [{ x, labels: truth }], { windows: [1, 3], device });
      const logits: number[] = [];
      for await (const batch of exitLogits(withPixelExits(network, exits), [{ x, labels: truth }], { device }))
        logits.push(...batch.logits[0]!.data);
      return logits;
    };
    const [here, there] = [await logitsAt(0), await logitsAt(offset)];
    here.forEach((value, at) => {
      expect(there[at]).toBeCloseTo(value, 1);
    });
  });

  it("a class without pixels is never answered", async () => {
    const few = tensor(
      "uint8",
      [4, 12, 10],
      golden.labels.map((label) => (label === 2 ? 255 : label)),
    );
    const network = withPixelExits(halved, await fitPixelExits(halved, [{ x: frames, labels: few }], { device }));
    const segmenter = await openSegmenter(withCarries(network, await fitCarries(network, [frames], { device })), {
      thresholds: -1,
      device,
    });
    expect((await segmenter.segment(frames)).classes.data.includes(2)).toBe(false);
    await segmenter.release();
  });
});

describe("fitted carries", () => {
  it("are least squares with a ridge, against NumPy", async () => {
    const carries = await fitCarries(halved, [frames], { device });
    expect(carries.map((own) => own.length)).toEqual([0, 1]);
    const { weights, bias, explained } = carries[1]![0]!;
    [...weights, ...bias].forEach((value, at) => {
      expect(value).toBeCloseTo(golden.carry[at]!, 5);
    });
    expect(explained).toBeCloseTo(golden.explained, 5);
  });

  it("what is linear is carried exactly: pixels that go on answer as with nothing left out", async () => {
    const random = generator(8);
    const drawn = (...shape: number[]) =>
      tensor(
        "float32",
        shape,
        Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal()),
      );
    const [reduce, spread, last] = [drawn(4, 3, 1, 1), drawn(3, 4, 3, 3), drawn(3, 3, 1, 1)];
    const network: SegmentationNetwork = {
      frame: [3, 18, 22],
      classes: 3,
      stages: [
        { compute: ({ frame }) => ({ x: ops.relu(frame!) }), tap: "x" },
        {
          compute: ({ x }, carry) => ({
            logits: ops.conv(ops.relu(ops.conv(carry(ops.conv(x!, reduce), x!), spread, { padding: 1 })), last),
          }),
          tap: "logits",
        },
      ],
    };
    const frame = frameOf(3);
    const truth = tensor(
      "uint8",
      [1, 18, 22],
      Array.from({ length: 396 }, () => random.integer(3)),
    );
    const exits = withPixelExits(network, await fitPixelExits(network, [{ x: frame, labels: truth }], { device }));
    const carries = await fitCarries(exits, [frame], { device });
    expect(carries[1]![0]!.explained).toBeGreaterThan(0.99999);
    const carried = withCarries(exits, carries);
    const answers = await Promise.all(
      [0.4, 2].map(async (thresholds) => {
        const segmenter = await openSegmenter(carried, { thresholds, device, execution: "pixels" });
        const result = await segmenter.segment(frame);
        await segmenter.release();
        return result;
      }),
    );
    const on = answers[0]!.stopped.data;
    const left = on.reduce((sum, stage) => sum + stage, 0);
    expect(left).toBeGreaterThan(50);
    expect(left).toBeLessThan(350);
    const different = on.filter(
      (stage, at) => stage === 1 && answers[0]!.classes.data[at] !== answers[1]!.classes.data[at],
    );
    expect(different.length).toBeLessThan(left * 0.01);
  });
});
