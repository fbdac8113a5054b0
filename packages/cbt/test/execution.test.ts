import { readFileSync } from "node:fs";
import {
  compileProgram,
  type Device,
  generator,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { masked } from "../src/execution/masked.ts";
import { firstProgram, layoutOf, logitsOf, sentSpec, stageProgram } from "../src/execution/programs.ts";
import { argMaxClasses, resized } from "../src/frames/resize-logits.ts";
import { resizedClasses } from "../src/frames/resized-classes.ts";
import { donePixels, openSegmenter, type SegmentationExitNetwork } from "../src/index.ts";
import { coarseNetwork, frameOf, smallNetwork } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const golden = JSON.parse(readFileSync(new URL("../fixtures/masked.json", import.meta.url), "utf8")) as {
  readonly x: number[];
  readonly a: number[];
  readonly bias: number[];
  readonly b: number[];
  readonly mask: number[];
  readonly results: Record<string, number[]>;
};

/** Largest difference, beside the largest magnitude. */
function relative(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let [worst, scale] = [0, 1e-6];
  for (let at = 0; at < expected.length; at++) {
    worst = Math.max(worst, Math.abs(actual[at]! - expected[at]!));
    scale = Math.max(scale, Math.abs(expected[at]!));
  }
  return worst / scale;
}

/** int64 [m, 1] places where a mask is 1. */
function placesOf(mask: ArrayLike<number>): Tensor<"int64"> {
  const places = Array.from(mask, (on, at) => (on ? at : -1)).filter((at) => at >= 0);
  return tensor("int64", [places.length, 1], places);
}

describe("masked convolutions with interpolation, against PyTorch (as ADP-C computes them)", () => {
  it.each(["3.0", "0.5"])("λ = %s, dense and gathered", async (lambda) => {
    const grid = [9, 11] as const;
    const [a, b] = [tensor("float32", [4, 3, 3, 3], golden.a), tensor("float32", [5, 4, 3, 3], golden.b)];
    const bias = tensor("float32", [4], golden.bias);
    const fill = { kind: "interpolated", lambda: Number(lambda) } as const;
    const program = trace(
      ({ x, mask, active }) => {
        const y = ops.conv(ops.relu(ops.conv(x, a, { padding: 1, bias })), b, { padding: 2, dilation: 2 });
        return {
          dense: masked({ grid, plane: mask, active: null, fill }).whole(y),
          gathered: masked({ grid, plane: mask, active, fill }).whole(y),
        };
      },
      { x: spec("float32", [1, 3, 9, 11]), mask: spec("bool", [1, 1, 9, 11]), active: spec("int64", ["m", 1]) },
    );
    const session = await compileProgram(device, program);
    const { dense, gathered } = await session.run({
      x: tensor("float32", [1, 3, 9, 11], golden.x),
      mask: tensor("bool", [1, 1, 9, 11], golden.mask),
      active: placesOf(golden.mask),
    });
    expect(relative(dense!.data as Float32Array, golden.results[lambda]!)).toBeLessThan(1e-5);
    expect(relative(gathered!.data as Float32Array, golden.results[lambda]!)).toBeLessThan(1e-5);
    await session.release();
  });
});

describe("what is gathered agrees with the masked planes", () => {
  const fills = { carried: { kind: "carried" }, interpolated: { kind: "interpolated", lambda: 0.8 } } as const;
  const networks = { "three stages": smallNetwork(), "coarse last stage": coarseNetwork() };
  const cases = (Object.keys(networks) as (keyof typeof networks)[]).flatMap((name) =>
    (["carried", "interpolated"] as const).flatMap((fill) =>
      networks[name].stages.slice(1).map((_, at) => [name, fill, at + 1] as const),
    ),
  );
  it.each(cases)("%s, %s, stage %i", async (name, fill, index) => {
    const network = networks[name];
    const layout = layoutOf("test", network);
    const random = generator(index);
    const sessions = await Promise.all(
      (["dense", "pixels"] as const).map((reading) =>
        compileProgram(device, stageProgram("test", network, layout, index, reading, fills[fill]).program),
      ),
    );
    const [h, w] = layout.grid;
    for (const share of [0, 0.01, 0.15, 0.6, 1]) {
      const mask = Uint8Array.from({ length: h * w }, (_, at) =>
        share === 1 || (share > 0 && (random.uniform() < share || at === 40)) ? 1 : 0,
      );
      const features = Object.fromEntries(
        Object.entries(layout.given[index]!)
          .filter(([key]) => layout.used[index]!.has(key))
          .map(([key, own]) => {
            const { shape } = sentSpec(key, own, layout.grid);
            const size = (shape as number[]).reduce((product, side) => product * side, 1);
            return [
              `features.${key}`,
              tensor(
                "float32",
                shape as number[],
                Array.from({ length: size }, () => random.normal()),
              ),
            ];
          }),
      );
      const shared = {
        ...features,
        before: tensor(
          "float32",
          [h * w, 5],
          Array.from({ length: 5 * h * w }, () => random.normal()),
        ),
        thresholds: tensor("float32", [1, 5], [0.3, 0.35, 0.4, 0.45, 0.5]),
      };
      const dense = await sessions[0]!.run({ ...shared, mask: tensor("bool", [1, 1, h, w], mask) });
      const pixels = await sessions[1]!.run({ ...shared, active: placesOf(mask) });
      expect(Object.keys(pixels)).toEqual(Object.keys(dense));
      for (const [key, value] of Object.entries(dense)) {
        const [actual, expected] = [pixels[key]!.data, value.data] as [Float32Array, Float32Array];
        if (value.dtype === "float32") expect(relative(actual, expected), `${key} at ${share}`).toBeLessThan(1e-5);
        else expect(actual.filter((entry, at) => entry !== expected[at]).length, `${key} at ${share}`).toBe(0);
      }
      // Logits of pixels that are done are copied, not computed.
      if (dense.sure !== undefined) {
        const before = shared.before.data;
        for (let at = 0; at < before.length; at++) {
          if (mask[Math.floor(at / 5)] === 0) expect((pixels.logits!.data as Float32Array)[at]).toBe(before[at]);
        }
      }
    }
  });
});

describe("openSegmenter", () => {
  /** Unmasked logits of every exit, the last at its own size. */
  async function allLogits(network: SegmentationExitNetwork, frame: Tensor): Promise<Tensor<"float32">[]> {
    const program = trace(
      (inputs) => {
        const taps = logitsOf("test", network, inputs.frame);
        return { logits: taps.map((tap, index) => network.heads[index]?.(tap) ?? tap) };
      },
      { frame: spec("float32", [1, ...network.frame]) },
    );
    const session = await compileProgram(device, program);
    const results = await session.run({ frame });
    await session.release();
    return network.stages.map((_, index) => results[`logits.${index}`] as Tensor<"float32">);
  }

  it.each(["dense", "pixels", "auto"] as const)("nothing done: the full network's answer, %s", async (execution) => {
    for (const network of [smallNetwork(), coarseNetwork()]) {
      const frame = frameOf(5);
      const segmenter = await openSegmenter(network, { thresholds: 2, execution, device });
      const { classes, stopped, executions } = await segmenter.segment(frame);
      const last = (await allLogits(network, frame)).at(-1)!;
      expect([...classes.data]).toEqual([...argMaxClasses(resized(last, [18, 22], "halfPixel"))]);
      expect(new Set(stopped.data)).toEqual(new Set([network.stages.length - 1]));
      expect(executions[0]!.includes(null)).toBe(false);
      await segmenter.release();
    }
  });

  it("all done at the first exit: later stages do not run, and the first exit answers", async () => {
    const network = smallNetwork();
    const frame = frameOf(5);
    const segmenter = await openSegmenter(network, { thresholds: -1, execution: "pixels", device });
    const { classes, stopped, macs, executions } = await segmenter.segment(frame);
    const [first] = await allLogits(network, frame);
    expect([...classes.data]).toEqual([...argMaxClasses(resized(first!, [18, 22], "halfPixel"))]);
    expect(new Set(stopped.data)).toEqual(new Set([0]));
    expect(executions).toEqual([["dense", null, null]]);
    expect(macs[0]).toBe(firstProgram("test", network, layoutOf("test", network)).cost.fixed);
    await segmenter.release();
  });

  it("what is left in one piece: the network's own logits where pixels go on", async () => {
    for (const network of [smallNetwork(), coarseNetwork()]) {
      const frame = frameOf(6);
      const e = network.stages.length;
      const wholeFrom = network.heads.map(() => 0);
      const segmenter = await openSegmenter(network, { thresholds: 0.4, execution: "pixels", wholeFrom, device });
      const { classes, stopped, executions, macs } = await segmenter.segment(frame);
      expect(executions[0]).toEqual(["dense", ...network.heads.map(() => "whole")]);
      expect(segmenter.wholeFrom).toEqual(wholeFrom);
      const done = stopped.data.filter((stage) => stage === 0).length;
      expect(done > 0 && done + stopped.data.filter((stage) => stage === e - 1).length).toBe(stopped.data.length);
      expect(macs[0]).toBeGreaterThan(segmenter.fullMacs);
      await segmenter.release();
      const logits = await allLogits(network, frame);
      const [first, last] = [logits[0]!, logits.at(-1)!];
      const [k, h, w] = last.shape.slice(1) as [number, number, number];
      const [early, own] = [resized(first, [h, w], "halfPixel"), last.data.slice()];
      const [down, across] = segmenter.grid;
      for (let at = 0; at < k * h * w; at++) {
        const [y, x] = [Math.floor(at / w) % h, at % w];
        const place = Math.floor((y * down) / h) * across + Math.floor((x * across) / w);
        if (stopped.data[place] === 0) own[at] = early.data[at]!;
      }
      const merged = { dtype: "float32", shape: last.shape, data: own } as Tensor<"float32">;
      expect([...classes.data]).toEqual([...argMaxClasses(resized(merged, [18, 22], "halfPixel"))]);
    }
  });

  it("from a share of pixels on what is left runs whole, from less it does not", async () => {
    const network = smallNetwork();
    const frame = frameOf(6);
    const open = (wholeFrom: readonly number[]) =>
      openSegmenter(network, { thresholds: 0.5, execution: "pixels", wholeFrom, device });
    const segmenter = await open([2, 2]);
    const { stopped } = await segmenter.segment(frame);
    await segmenter.release();
    const share = stopped.data.filter((stage) => stage > 0).length / stopped.data.length;
    expect(share > 0 && share < 1).toBe(true);
    for (const [from, how] of [
      [share, "whole"],
      [share + 0.001, "pixels"],
    ] as const) {
      const own = await open([from, 2]);
      expect((await own.segment(frame)).executions[0]![1]).toBe(how);
      await own.release();
    }
  });

  it("pixels are done where the rule says so; raising a threshold never computes fewer; frames do not see each other", async () => {
    const network = smallNetwork();
    const frames = frameOf(6, 3);
    let fewest = Number.POSITIVE_INFINITY;
    for (const base of [0.7, 0.5, 0.3]) {
      const thresholds = [0, 1, 2, 3, 4].map((c) => base + 0.02 * c);
      const results = [];
      for (const execution of ["dense", "pixels", "auto"] as const) {
        const segmenter = await openSegmenter(network, { thresholds, execution, wholeFrom: [2, 2], device });
        results.push(await segmenter.segment(frames));
        await segmenter.release();
      }
      const [dense, pixels, auto] = results;
      for (const other of [pixels!, auto!]) {
        expect([...other.classes.data]).toEqual([...dense!.classes.data]);
        expect([...other.stopped.data]).toEqual([...dense!.stopped.data]);
        expect(other.macs).toEqual(dense!.macs);
      }
      for (let at = 0; at < 3; at++) {
        const size = 3 * 18 * 22;
        const frame = tensor("float32", [1, 3, 18, 22], frames.data.slice(at * size, (at + 1) * size));
        const [logits] = await allLogits(network, frame);
        const session = await compileProgram(
          device,
          trace(({ x }) => ({ p: ops.softmax(x, { axis: 1 }) }), { x: spec("float32", [1, 5, 9, 11]) }),
        );
        const { p } = await session.run({ x: logits! });
        const done = donePixels(p as Tensor<"float32">, thresholds).data;
        expect(
          [...pixels!.stopped.data.subarray(at * 99, (at + 1) * 99)].map((stage) => (stage === 0 ? 1 : 0)),
        ).toEqual([...done]);
        await session.release();
      }
      const total = pixels!.macs.reduce((sum, macs) => sum + macs, 0);
      expect(total).toBeLessThanOrEqual(fewest);
      fewest = total;
    }
  }, 60_000);

  it("thresholds of each exit's own, and cells that go on as a whole", async () => {
    const network = smallNetwork();
    const frame = frameOf(7);
    const open = (options: object) =>
      openSegmenter(network, { thresholds: 0.4, device, execution: "pixels", ...options });
    const [alike, own, cells, few] = await Promise.all([
      open({}),
      open({ thresholds: [new Array(5).fill(2), new Array(5).fill(-1)] }),
      open({ cells: { cell: 3, share: 0 } }),
      open({ cells: { cell: 3, share: 0.6 } }),
    ]);
    const single = await alike.segment(frame);
    expect(new Set((await own.segment(frame)).stopped.data)).toEqual(new Set([1]));
    const whole = await cells.segment(frame);
    const most = await few.segment(frame);
    for (let y = 0; y < 9; y += 3) {
      for (let x = 0; x < 11; x += 3) {
        const at = (data: Uint8Array) =>
          [0, 1, 2].flatMap((i) => [0, 1, 2].filter((j) => x + j < 11).map((j) => data[(y + i) * 11 + x + j]! > 0));
        expect(new Set(at(whole.stopped.data)).size).toBe(1);
        expect(at(whole.stopped.data)[0]).toBe(at(single.stopped.data).some(Boolean));
        const unsure = at(single.stopped.data);
        expect(at(most.stopped.data)[0]).toBe(unsure.filter(Boolean).length > 0.6 * unsure.length);
      }
    }
    for (const segmenter of [alike, own, cells, few]) await segmenter.release();
  });
});

it("MACs are those of the mask: counted by hand for one convolution", async () => {
  const weight = tensor("float32", [4, 2, 3, 3]);
  const one = tensor("float32", [3, 4, 1, 1]);
  const network: SegmentationExitNetwork = {
    frame: [2, 6, 5],
    classes: 3,
    stages: [
      { compute: ({ frame }) => ({ x: ops.conv(frame!, weight, { padding: 1 }) }), tap: "x" },
      {
        compute: ({ frame, x }, carry) => ({ y: ops.conv(carry(ops.conv(frame!, weight, { padding: 1 }), x!), one) }),
        tap: "y",
      },
    ],
    heads: [(x) => ops.conv(x, one)],
  };
  const layout = layoutOf("test", network);
  const first = 30 * (4 * 2 * 9 + 3 * 4);
  expect(firstProgram("test", network, layout).cost).toEqual({ fixed: first, perPixel: 0, interpolation: 0 });
  const { cost } = stageProgram("test", network, layout, 1, "pixels", { kind: "carried" });
  // The last 1 × 1 convolution is wanted at pixels that go on only: the others' logits are copied.
  expect(cost).toEqual({ fixed: 0, perPixel: 4 * 2 * 9 + 3 * 4, interpolation: 0 });
  const adpc = stageProgram("test", network, layout, 1, "pixels", { kind: "interpolated", lambda: 3 });
  expect(adpc.cost).toEqual({ fixed: 0, perPixel: 4 * 2 * 9 + 3 * 4, interpolation: 49 * 4 * 0 });
});

it("classes of resized logits are those of resizing all, wherever the logits lie in memory", () => {
  const random = generator(9);
  const [k, h, w] = [4, 7, 9];
  // Smooth enough that some neighbourhoods agree and some do not.
  const planes = Float32Array.from(
    { length: k * h * w },
    (_, at) => Math.sin((at % w) / 2 + Math.floor(at / (h * w))) + 0.3 * random.normal(),
  );
  const rows = Float32Array.from(planes, (_, at) => planes[(at % k) * h * w + Math.floor(at / k)]!);
  for (const size of [
    [7, 9],
    [28, 36],
    [15, 20],
    [3, 4],
  ] as const) {
    const all = argMaxClasses(resized({ dtype: "float32", shape: [1, k, h, w], data: planes }, size, "halfPixel"));
    const shared = { classes: k, grid: [h, w] } as const;
    expect([...resizedClasses({ ...shared, data: planes, layout: "planes" }, size)]).toEqual([...all]);
    expect([...resizedClasses({ ...shared, data: rows, layout: "rows" }, size)]).toEqual([...all]);
  }
});
