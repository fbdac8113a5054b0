import { describe, expect, test } from "vitest";
import { classMeansOverhead, concatRecords, exitCosts, selectExits, selectRows } from "../src/index.ts";
import { syntheticRecord } from "./records.ts";

const record = syntheticRecord(30, 3, 1);
const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe("records", () => {
  test("split and put together again is the same record", () => {
    expect(concatRecords([selectRows(record, upTo(0, 11)), selectRows(record, upTo(11, 30))])).toEqual(record);
  });

  test("rows may repeat and come in any order", () => {
    const picked = selectRows(record, [4, 4, 0]);
    expect([...picked.labels]).toEqual([record.labels[4], record.labels[4], record.labels[0]]);
    expect(picked.confidences[2]![2]).toBe(record.confidences[2]![0]);
  });

  test("some exits", () => {
    const fewer = selectExits(record, [1, 2]);
    expect(fewer.exits).toEqual(["exit1", "exit2"]);
    expect(fewer.predictions[0]).toBe(record.predictions[1]);
  });

  test("refusals", () => {
    expect(() => selectRows(record, [30])).toThrow("sample indices must lie in 0..29; got 30");
    expect(() => selectRows(record, [])).toThrow("at least one sample index; got none");
    expect(() => selectExits(record, [0, 1])).toThrow("end in the full network, 2; got [0, 1]");
    expect(() => selectExits(record, [1, 0, 2])).toThrow("must increase");
    expect(() => concatRecords([])).toThrow("at least one record");
    expect(() => concatRecords([record, selectExits(record, [1, 2])])).toThrow(
      "must have the exits exit0, exit1, exit2",
    );
  });
});

describe("costs", () => {
  test("every visited exit is paid", () => {
    expect(exitCosts({ backbone: [10, 20, 40], overheads: [1, 2] })).toEqual({ exits: [11, 23, 43], full: 40 });
  });

  test("class means: k subtractions, squares and additions of d features by hand", () => {
    // 2 classes, 3 features: each 3 subtractions, 3 squares, 2 additions.
    expect(classMeansOverhead(2, 3)).toEqual({ flops: 16, macs: 8 });
    expect(() => classMeansOverhead(0, 3)).toThrow("k = 0, d = 3");
  });

  test("refusals", () => {
    expect(() => exitCosts({ backbone: [1, 2], overheads: [] })).toThrow("2 exits need 1 overheads");
    expect(() => exitCosts({ backbone: [1, Number.NaN], overheads: [0] })).toThrow(
      "backbone must be finite MACs ≥ 0; got NaN",
    );
    expect(() => exitCosts({ backbone: [2, 2], overheads: [0] })).toThrow("increase");
  });
});
