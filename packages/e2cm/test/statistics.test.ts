import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type Device,
  generator,
  openDevice,
  ops,
  programToModel,
  proposeCuts,
  spec,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accumulateStatistics, type Batch, type Batches, type ClassStatistics, mergeStatistics } from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";

let device: Device;
let shards: readonly ClassStatistics[];
const stream = batches("train", 30);
const proposed = proposeCuts(tinyModel());
/** After the first and the last block. */
const taps = [proposed[0]!, proposed.at(-1)!];

const accumulated = (from: Batches, metric: "sharedCovariance" | "euclidean" = "sharedCovariance") =>
  accumulateStatistics(tinyModel(), from, { classes: 4, metric, device, taps });

beforeAll(async () => {
  device = await openDevice("cpu");
  shards = await Promise.all(stream.map((batch) => accumulated([batch])));
});
afterAll(() => device.close());

/** Largest difference of any sum, relative to the largest magnitude of its array. */
function difference(a: ClassStatistics, b: ClassStatistics): number {
  expect({ ...a, counts: null, exits: null }).toEqual({ ...b, counts: null, exits: null });
  expect([...a.counts]).toEqual([...b.counts]);
  expect(a.exits.map(({ tap, d }) => [tap, d])).toEqual(b.exits.map(({ tap, d }) => [tap, d]));
  const relative = (left: ArrayLike<number>, right: ArrayLike<number>) => {
    expect(left.length).toBe(right.length);
    let scale = 0;
    let worst = 0;
    for (let i = 0; i < left.length; i++) {
      scale = Math.max(scale, Math.abs(left[i]!));
      worst = Math.max(worst, Math.abs(left[i]! - right[i]!));
    }
    return worst / scale;
  };
  return Math.max(
    ...a.exits.flatMap((exit, index) => {
      const other = b.exits[index]!;
      return [
        relative(exit.sums, other.sums),
        relative([exit.squares], [other.squares]),
        ...(exit.gram === null ? [] : [relative(exit.gram, other.gram!)]),
      ];
    }),
  );
}

describe("merging shards", () => {
  it("any split, merged in any order, gives what one pass gives", async () => {
    const whole = await accumulated(stream);
    expect(whole.exits.every(({ gram }) => gram !== null)).toBe(true);
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...shards.keys()], { minLength: shards.length }),
        fc.infiniteStream(fc.nat()),
        (order, choices) => {
          // Two neighbours at a random place are merged until one is left: any tree over any order.
          const left = order.map((index) => shards[index]!);
          for (const choice of choices) {
            if (left.length === 1) break;
            const at = choice % (left.length - 1);
            left.splice(at, 2, mergeStatistics(left[at]!, left[at + 1]!));
          }
          expect(difference(whole, left[0]!)).toBeLessThan(1e-12);
        },
      ),
      { seed: 1, numRuns: 40 },
    );
  });

  it("shards of several batches, of either metric, add up too", async () => {
    for (const metric of ["sharedCovariance", "euclidean"] as const) {
      const whole = await accumulated(stream, metric);
      for (const cut of [1, 5]) {
        const parts = [stream.slice(cut), stream.slice(0, cut)];
        const [late, early] = await Promise.all(parts.map((part) => accumulated(part, metric)));
        expect(difference(whole, mergeStatistics(early!, late!))).toBeLessThan(1e-12);
      }
    }
  });

  it("leaves both shards as they were", () => {
    const before = structuredClone(shards.slice(0, 2));
    mergeStatistics(shards[0]!, shards[1]!);
    expect(shards.slice(0, 2)).toEqual(before);
  });

  it.each([
    ["model (sha256)", (s: ClassStatistics) => ({ ...s, modelHash: "0".repeat(64) }), /got [0-9a-f]{64} and 0{64}/],
    ["number of classes", (s: ClassStatistics) => ({ ...s, classes: 5 }), /got 4 and 5/],
    ["features", (s: ClassStatistics) => ({ ...s, features: "full" as const }), /got moments and full/],
    ["exits", (s: ClassStatistics) => ({ ...s, exits: s.exits.slice(1) }), /got \S+, \S+.* and \S+/],
    [
      "features d at",
      (s: ClassStatistics) => ({ ...s, exits: s.exits.map((exit) => ({ ...exit, d: exit.d + 1 })) }),
      /got \d+ and \d+/,
    ],
    [
      "Gram matrix (kept or not) at",
      (s: ClassStatistics) => ({ ...s, exits: s.exits.map((exit) => ({ ...exit, gram: null })) }),
      /got false and true/,
    ],
  ])("refuses shards that differ in %s", (what, change, actual) => {
    const message = `e2cm.mergeStatistics: both shards must have the same ${what}`;
    expect(() => mergeStatistics(shards[0]!, change(shards[1]!))).toThrow(message);
    expect(() => mergeStatistics(shards[0]!, change(shards[1]!))).toThrow(actual);
  });
});

describe("one pass", () => {
  it("makes class counts, sums, squares and Gram matrices that agree with each other", async () => {
    const { counts, exits } = await accumulated(stream);
    expect([...counts]).toEqual([60, 60, 60, 60]);
    for (const { d, squares, gram } of exits) {
      let trace = 0;
      for (let i = 0; i < d; i++) trace += gram![i * d + i]!;
      expect(trace / squares).toBeCloseTo(1, 5);
      for (let i = 0; i < d; i++) for (let j = 0; j < i; j++) expect(gram![i * d + j]).toBe(gram![j * d + i]);
    }
  });

  it("keeps features that hardly vary beside their mean apart from float32's rounding", async () => {
    // Two features that vary by 1e-3 around 1 and 300, six that never vary.
    const offsets = [1, 300, 0.1, 1.7, 2.9, 300, 0, -7.3];
    const program = trace(
      ({ x }) => {
        const t = ops.add(
          ops.matmul(x, tensor("float32", [2, 8], [1e-3, ...Array(8).fill(0), 1e-3, ...Array(6).fill(0)])),
          tensor("float32", [1, 8], offsets),
        );
        return {
          t,
          logits: ops.matmul(
            t,
            tensor(
              "float32",
              [8, 2],
              Array.from({ length: 16 }, (_, i) => i),
            ),
          ),
        };
      },
      { x: spec("float32", ["n", 2]) },
    );
    const random = generator(1);
    const rows = Array.from({ length: 3 }, () => Array.from({ length: 2000 }, () => random.normal()));
    const given = rows.map((data) => ({
      x: tensor("float32", [1000, 2], data),
      y: data.slice(0, 1000).map((_, i) => i % 2),
    }));
    const statistics = await accumulateStatistics(programToModel(program), given, {
      classes: 2,
      taps: ["t"],
      features: "full",
      device,
    });
    const { gram, sums, d } = statistics.exits[0]!;
    const variances = Array.from({ length: d }, (_, i) => {
      const between = (sums[i]! ** 2 + sums[d + i]! ** 2) / 1500;
      return (gram![i * d + i]! - between) / 3000;
    });
    expect(Math.abs(variances[0]! / 1e-6 - 1)).toBeLessThan(0.1);
    // float32 holds 300 ± 0.001 to 1.5e-5.
    expect(Math.abs(variances[1]! / 1e-6 - 1)).toBeLessThan(0.1);
    variances.slice(2).forEach((variance, at) => {
      expect(Math.abs(variance)).toBeLessThan(1e-12 * (offsets[at + 2]! ** 2 + 1e-9));
    });
  });

  it("passes empty batches over, and reports the samples so far", async () => {
    const none: Batch = { x: tensor("float32", [0, 3, 8, 8]), y: [] };
    const seen: number[] = [];
    const options = { classes: 4, device, taps, onProgress: (pictures: number) => seen.push(pictures) };
    const with0 = await accumulateStatistics(tinyModel(), [none, stream[0]!, none, stream[1]!], options);
    expect(difference(await accumulated(stream.slice(0, 2)), with0)).toBe(0);
    expect(seen).toEqual([30, 60]);
  });

  it("takes memory that does not grow with the number of samples", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const alive: WeakRef<object>[] = [];
    const used: number[] = [];
    async function* endless() {
      for (let index = 0; index < 120; index++) {
        const data = new Float32Array(512 * 192).map((_, i) => (i * (index + 7)) % 5);
        alive.push(new WeakRef(data));
        yield { x: tensor("float32", [512, 3, 8, 8], data), y: new Int32Array(512).map((_, i) => i % 4) };
        if (index % 40 !== 39) continue;
        // WeakRefs live until the task that made them ends.
        await new Promise((resolve) => setTimeout(resolve, 1));
        collect();
        const { heapUsed, arrayBuffers } = process.memoryUsage();
        used.push(heapUsed + arrayBuffers);
      }
    }
    await accumulateStatistics(tinyModel(), endless(), { classes: 4, device, metric: "euclidean", taps });
    // 80 batches of 393,216 bytes passed between the first and the last measurement: 31 MB.
    expect(used).toHaveLength(3);
    expect(used[2]! - used[0]!).toBeLessThan(12e6);
    expect(alive.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(10);
  });
});
