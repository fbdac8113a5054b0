import { describe, expect, test } from "vitest";
import type { Dataset } from "../src/data/directory.ts";
import { CIFAR100_CLASSES } from "../src/data/names.ts";
import {
  classOrder,
  knownOnly,
  type OnlineMeasure,
  onlineRows,
  reordered,
} from "../src/experiments/open-world/held-out.ts";
import { averaged } from "../src/experiments/open-world/measures.ts";
import { unknownsOf } from "../src/experiments/open-world/unknowns.ts";
import { spread } from "../src/spread.ts";

/** One-byte pictures whose pixel is their place. */
const pictures = (labels: readonly number[]) => ({
  n: labels.length,
  shape: [1, 1, 1] as const,
  pixels: Uint8Array.from(labels, (_, row) => row),
  labels: Int32Array.from(labels),
});

describe("unknown pictures", () => {
  test("of CIFAR-100 are near or far, labelled −1, and no pickup trucks", () => {
    const test = pictures(Array.from({ length: 200 }, (_, row) => row % 100));
    const [far, near] = unknownsOf({ test } as unknown as Dataset, 1000);
    expect([far!.kind, far!.pictures.n, near!.kind, near!.pictures.n]).toEqual(["far", 140, "near", 58]);
    const names = (of: typeof far) => [...of!.pictures.pixels].map((row) => CIFAR100_CLASSES[row % 100]!);
    expect(names(far)).toContain("maple_tree");
    expect(names(near)).toContain("wolf");
    expect([...names(far), ...names(near)]).not.toContain("pickup_truck");
    expect(new Set([...far!.pictures.labels, ...near!.pictures.labels])).toEqual(new Set([-1]));
    expect(unknownsOf({ test } as unknown as Dataset, 10).map((one) => one.pictures.n)).toEqual([10, 10]);
  });
});

describe("held-out classes", () => {
  test("come last in an order of the seed, and go", () => {
    const order = classOrder(3);
    expect([...order].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(classOrder(3)).toEqual(order);
    expect(classOrder(4)).not.toEqual(order);
    const moved = reordered(pictures([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), order);
    order.forEach((label, at) => {
      expect(moved.labels[label]).toBe(at);
    });
    const known = knownOnly(moved);
    expect(known.n).toBe(8);
    expect([...known.pixels]).not.toContain(order[8]);
    expect([...known.pixels]).not.toContain(order[9]);
  });
});

describe("repetitions", () => {
  test("become means and standard deviations", () => {
    expect(spread([0.5])).toEqual({ mean: 0.5 });
    const { mean, deviation } = spread([1, 2, 3]);
    expect([mean, deviation]).toEqual([2, 1]);
    const row = { backbone: "b", unknown: "u", metric: "m", score: "novelty", exit: "e", macsFraction: 1 } as const;
    const [one] = averaged([[{ ...row, auroc: 0.5 }], [{ ...row, auroc: 0.7 }]]);
    expect(one!.auroc).toBeCloseTo(0.6, 12);
    expect(one!.deviation).toBeCloseTo(Math.SQRT2 / 10, 12);
    const measure = (samples: number | null, fresh: number): OnlineMeasure => ({
      samples,
      fresh,
      exit: "e",
      macsFraction: 1,
      predictFrom: "raw",
      draw: 0,
      old: 1,
      before: 1,
    });
    const rows = onlineRows({ backbone: "b", unknown: "u" }, [measure(1, 0.2), measure(null, 1), measure(1, 0.4)]);
    expect(rows.map(({ samples, repetitions }) => [samples, repetitions])).toEqual([
      [1, 2],
      [null, 1],
    ]);
    expect(rows[0]!.fresh.mean).toBeCloseTo(0.3, 12);
  });
});
