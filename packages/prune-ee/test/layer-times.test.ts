import { readFileSync } from "node:fs";
import {
  type Device,
  generator,
  openDevice,
  ops,
  programToModel,
  readModel,
  spec,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphOf } from "../src/channels/graph.ts";
import { shapesOf } from "../src/channels/probe.ts";
import { propagate } from "../src/channels/propagate.ts";
import { type LayerShape, type LayerTimes, measureLayerTimes, pruneChannels, type TimedShape } from "../src/index.ts";
import { blockOf } from "../src/times/block-of.ts";
import { placeName } from "../src/times/layer-shape.ts";
import { timeOf } from "../src/times/layer-times.ts";
import { widthsOf } from "../src/times/measure-layer-times.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const conv = { kind: "conv", kernel: [3, 3], stride: [1, 1], size: [8, 8] } as const;
const table = (rows: readonly TimedShape[], block = 4): LayerTimes => ({ batch: 1, block, rows });

/** 3 → 16 → 16 → 12 channels at 8×8 and a linear layer; every convolution at a place of its own. */
const network = (() => {
  const random = generator(2);
  const weight = (to: number, from: number, kernel: number) =>
    tensor(
      "float32",
      [to, from, kernel, kernel],
      Float32Array.from({ length: to * from * kernel ** 2 }, () => random.normal()),
    );
  const program = trace(
    ({ x }) => {
      const a = ops.relu(ops.conv(x, weight(16, 3, 1)));
      const b = ops.relu(ops.conv(a, weight(16, 16, 3), { padding: 1 }));
      const c = ops.relu(ops.conv(b, weight(12, 16, 5), { padding: 2 }));
      const head = tensor(
        "float32",
        [5, 12],
        Array.from({ length: 60 }, (_, at) => Math.sin(at)),
      );
      return { logits: ops.linear(ops.flatten(ops.globalAveragePool(c)), head) };
    },
    { x: spec("float32", ["n", 3, 8, 8]) },
  );
  return programToModel(program);
})();

async function shapesIn(model = network): Promise<readonly LayerShape[]> {
  const { products } = propagate(graphOf("test", model, await shapesOf(device, model, {})));
  return products.map(({ place, in: from, out }) => ({ ...place, in: from.length, out: out.length }));
}

/** A table of all widths in blocks of 4, by a made-up price. */
async function madeUp(price: (shape: LayerShape) => number, small = price): Promise<LayerTimes> {
  const shapes = widthsOf(await shapesIn(), 4, 4);
  return table(shapes.map((shape) => ({ ...shape, float: price(shape), eightBits: small(shape) })));
}

const macs = ({ in: from, out, kernel }: LayerShape) => from * out * kernel.reduce((size, side) => size * side, 1);

describe("a table of times", () => {
  const rows = [
    { ...conv, in: 16, out: 16, float: 1, eightBits: 0.5 },
    { ...conv, in: 16, out: 32, float: 3 },
    { ...conv, in: 32, out: 16, float: 2 },
    { ...conv, in: 32, out: 32, float: 6 },
  ];
  const of = (from: number, to: number, bits: 32 | 8 = 32) =>
    timeOf("test", table(rows), { ...conv, in: from, out: to }, bits);

  it("gives what was measured, linear in between, in proportion below; 8 bits where they were measured", () => {
    expect([of(16, 16), of(32, 16), of(16, 32), of(32, 32)]).toEqual([1, 2, 3, 6]);
    expect([of(24, 16), of(16, 24), of(24, 24)]).toEqual([1.5, 2, 3]);
    expect([of(8, 16), of(4, 32), of(8, 8)]).toEqual([0.5, 0.75, 0.25]);
    expect([of(16, 16, 8), of(16, 32, 8)]).toEqual([0.5, 3]);
  });

  it("names the layer that it lacks", () => {
    expect(() => of(48, 16)).toThrow(
      'test: the table of times must have "conv 3×3 at 8×8" from 48 to 16 channels; got no such rows. Measure it with measureLayerTimes',
    );
    const other = { ...conv, stride: [2, 2], in: 16, out: 16 };
    expect(() => timeOf("test", table(rows), other, 32)).toThrow(/"conv 3×3 \/ 2×2 at 8×8"/);
  });
});

describe("the block of channels", () => {
  const times = (list: readonly (readonly [number, number])[]) => blockOf(new Map(list));
  const WIDTHS = [16, 18, 20, 24, 26, 28, 32, 40, 48, 56, 64];

  it("is told by what was measured on a processor with AVX-512, in shares of 64 channels", () => {
    const [quiet, busy] = [
      [0.087, 0.253, 0.257, 0.256, 0.267, 0.557, 0.565, 0.987, 1],
      // Other work on the machine: 48 channels seem slow, so 40 fast beside them.
      [0.137, 0.229, 0.228, 0.23, 0.24, 0.418, 0.677, 1.147, 1],
    ].map((shares) => [16, 20, 24, 28, 32, 40, 48, 56, 64].map((width, at) => [width, shares[at]!] as const));
    expect([times(quiet!), times(busy!)]).toEqual([16, 16]);
  });

  it.each([16, 8, 4, 1])("of %i is told whether time grows with the width or with its square", (block) => {
    for (const power of [1, 2]) {
      const stairs = WIDTHS.map((width) => [width, Math.ceil(width / block) ** power] as const);
      expect([power, times(stairs)]).toEqual([power, block]);
    }
  });

  it.each([16, 8, 1])("of %i is told on a busy machine: every time off by 6 %, one in five by up to twice", (block) => {
    const random = generator(block);
    let right = 0;
    for (let trial = 0; trial < 200; trial++) {
      const stairs = WIDTHS.map((width) => {
        const spoilt = width % 16 !== 0 && random.uniform() < 0.2 ? 1 + random.uniform() : 1;
        return [width, Math.ceil(width / block) ** 2 * spoilt * Math.exp(0.06 * random.normal())] as const;
      });
      // Whether it is 4 or none cannot be told so.
      if (times(stairs) === block || (block === 1 && times(stairs) === 4)) right++;
    }
    expect(right).toBeGreaterThanOrEqual(180);
  });

  it("is 1 where nothing tells", () => {
    expect(times([])).toBe(1);
    expect(
      times([
        [32, 1],
        [64, 4],
      ]),
    ).toBe(1);
    expect(
      times([
        [20, 20],
        [24, 24],
        [28, 28],
        [32, 32],
      ]),
    ).toBe(1);
    expect(
      times([
        [12, 1],
        [20, 2],
      ]),
    ).toBe(1);
  });
});

describe("a wanted time", () => {
  it("is reached where time is, by the layers that cost it", async () => {
    // Only the 5×5 layer costs anything, by what it reads and what it gives.
    const costly = await madeUp((shape) => (shape.kernel[0] === 5 ? macs(shape) : 1e-9));
    const { layers, milliseconds } = await pruneChannels(device, network, { time: { table: costly, share: 0.5 } });
    const [first, second, third] = layers.map(({ before, after }) => after / before) as [number, number, number];
    expect(first).toBe(1);
    expect(second * third).toBeLessThanOrEqual(0.5);
    expect(milliseconds!.before).toBeCloseTo(16 * 12 * 25, 3);
    expect(milliseconds!.after).toBeCloseTo(16 * 12 * 25 * second * third, 3);
  });

  it("uses 8 bits' own times, and steps over widths that are slower than the full one", async () => {
    // In 8 bits the 3×3 layer is what costs; in whole blocks of 8 only.
    const rough = ({ out }: LayerShape) => Math.ceil(out / 8);
    const made = await madeUp(
      () => 1,
      (shape) => (shape.kernel[0] === 3 ? rough(shape) * Math.ceil(shape.in / 8) : 1e-9),
    );
    const { layers } = await pruneChannels(device, network, { time: { table: made, share: 0.51, bits: 8 } });
    expect(layers.map(({ after }) => after).toSorted((a, b) => a - b)).toEqual([5, 8, 12, 16]);
  });

  it("is kept, with nothing more gone than it needs, whatever the prices", async () => {
    const shapes = widthsOf(await shapesIn(), 4, 4);
    const names = [...new Set(shapes.map(placeName))];
    const law = fc.asyncProperty(
      fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: names.length, maxLength: names.length }),
      fc.double({ min: 0.4, max: 1, noNaN: true }),
      async (prices, share) => {
        const price = (shape: LayerShape) => prices[names.indexOf(placeName(shape))]! * shape.in * shape.out;
        const made = table(shapes.map((shape) => ({ ...shape, float: price(shape) })));
        const { layers, milliseconds } = await pruneChannels(device, network, { time: { table: made, share } });
        const widths = layers.map(({ after }) => after) as [number, number, number, number];
        const total = ([a, b, c, d]: typeof widths) =>
          [
            [3, a],
            [a, b],
            [b, c],
            [c, d],
          ].reduce((sum, [from, to], at) => {
            const place = shapes.find((shape) => placeName(shape) === names[at])!;
            return sum + price({ ...place, in: from!, out: to! });
          }, 0);
        expect(milliseconds!.after).toBeCloseTo(total(widths), 6);
        expect(milliseconds!.before).toBeCloseTo(total([16, 16, 12, 5]), 6);
        expect(milliseconds!.after).toBeLessThanOrEqual(share * milliseconds!.before);
        for (const [at, full] of [16, 16, 12].entries()) {
          if (widths[at]! === full) continue;
          const wider = widths.with(at, widths[at]! + 4) as typeof widths;
          expect(total(wider)).toBeGreaterThan(share * milliseconds!.before);
        }
      },
    );
    await fc.assert(law, { seed: 1, numRuns: 12 });
  });

  it("needs a table of these layers, and one that widths reach", async () => {
    const made = await madeUp(() => 1);
    const prune = (time: object, more: object = {}) => pruneChannels(device, network, { time, ...more } as never);
    await expect(prune({ table: made, share: 0.5 })).rejects.toThrow(
      "time.share must be one that widths in whole blocks reach; got 0.5, where 1.000 is the least",
    );
    await expect(prune({ table: table([]), share: 0.5 })).rejects.toThrow(
      /the table of times must have "conv 1×1 at 8×8"/,
    );
    await expect(prune({ table: made, share: 1.5 })).rejects.toThrow(/"time.share"/);
    await expect(
      prune({ table: { ...made, rows: [{ ...made.rows[0], float: Number.NaN }] }, share: 1 }),
    ).rejects.toThrow(/"time.table.rows.0.float"/);
    await expect(prune({ table: made, share: 0.5 }, { keep: 0.5 })).rejects.toThrow(
      /either keep or time must be given; got both/,
    );
    await expect(pruneChannels(device, network, {})).rejects.toThrow(/either keep or time must be given; got neither/);
  });

  it("of the whole changes nothing", async () => {
    const made = await madeUp(macs);
    const { layers } = await pruneChannels(device, network, { time: { table: made, share: 1 } });
    expect(layers.every(({ before, after }) => before === after)).toBe(true);
  });
});

it("the widths of a table are a few of the whole blocks up to the full width, and those that occur", async () => {
  const [stem] = await shapesIn();
  const found = widthsOf([{ ...stem!, in: 3, out: 84 }], 8, 4);
  expect(found.map(({ in: from, out }) => [from, out])).toEqual([24, 40, 64, 80, 84].map((out) => [3, out]));
  const depthwise = widthsOf([{ ...conv, kind: "depthwise", in: 16, out: 16 }], 8, 4);
  expect(depthwise.map(({ in: from, out }) => [from, out])).toEqual([
    [8, 8],
    [16, 16],
  ]);
});

it("a measured table has every layer of the network, in float and in 8 bits", async () => {
  const model = readModel(readFileSync(new URL("../../core-gpu/fixtures/onnx/vgg.onnx", import.meta.url)));
  const done: number[] = [];
  const measured = await measureLayerTimes(device, model, {
    batch: 1,
    passes: 1,
    steps: 2,
    onProgress: (count, of) => done.push(count / of),
  });
  expect([1, 4, 8, 16]).toContain(measured.block);
  for (const bits of [32, 8] as const) {
    for (const shape of await shapesIn(model)) expect(timeOf("test", measured, shape, bits)).toBeGreaterThan(0);
  }
  expect(measured.widths!.map(({ out }) => out)).toEqual([16, 18, 20, 24, 26, 28, 32, 40, 48, 56, 64]);
  expect(measured.rows.every(({ float, eightBits }) => float > 0 && eightBits! > 0)).toBe(true);
  expect(done.at(-1)).toBe(1);
  expect(JSON.parse(JSON.stringify(measured))).toEqual(measured);
  await expect(measureLayerTimes(device, model, { sizes: 1 } as never)).rejects.toThrow(/unknown option "sizes"/);
  await expect(measureLayerTimes(null as never, model)).rejects.toThrow(/a device is needed/);
});

it("measuring stops between two measurements", async () => {
  const model = readModel(readFileSync(new URL("../../core-gpu/fixtures/onnx/vgg.onnx", import.meta.url)));
  const stop = new AbortController();
  const done: number[] = [];
  const onProgress = (count: number) => {
    done.push(count);
    if (count === 2) stop.abort(new Error("enough"));
  };
  const options = { batch: 1, passes: 1, steps: 1, eightBits: false, signal: stop.signal, onProgress };
  await expect(measureLayerTimes(device, model, options)).rejects.toThrow("enough");
  expect(done).toEqual([1, 2]);
  await expect(measureLayerTimes(device, model, options)).rejects.toThrow("enough");
});
