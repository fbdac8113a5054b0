import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DType } from "../src/tensor.ts";
import { bytesPerElement, rows, sizeOf, tensor } from "../src/tensor.ts";

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;
const dtypes = Object.keys(arrays) as DType[];

test("bytesPerElement is the width of the typed array", () => {
  expect(dtypes.map(bytesPerElement)).toEqual([4, 8, 4, 8, 1, 1]);
});

test("sizeOf multiplies the dimensions", () => {
  expect(sizeOf([])).toBe(1);
  expect(sizeOf([2, 3, 4])).toBe(24);
  expect(sizeOf([2, 0, 4])).toBe(0);
});

describe("tensor", () => {
  test.each(dtypes)("%s without data is zeros in the right array", (dtype) => {
    const made = tensor(dtype, [2, 3]);
    expect(made).toMatchObject({ dtype, shape: [2, 3] });
    expect(made.data).toBeInstanceOf(arrays[dtype]);
    expect(Array.from(made.data as Iterable<unknown>, Number)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("a typed array is kept, a list is copied and converted", () => {
    const data = new Float32Array([1, 2]);
    expect(tensor("float32", [2], data).data).toBe(data);
    expect(tensor("float32", [2], [0.1, 2]).data).toEqual(new Float32Array([0.1, 2]));
    expect(tensor("int64", [3], [1, 2n ** 62n, true]).data).toEqual(new BigInt64Array([1n, 2n ** 62n, 1n]));
    expect(tensor("bool", [4], [0, 5, true, false]).data).toEqual(new Uint8Array([0, 1, 1, 0]));
    expect(tensor("int32", [], [7]).data).toEqual(new Int32Array([7]));
  });

  test("the shape is copied", () => {
    const shape = [2];
    const made = tensor("uint8", shape);
    shape[0] = 9;
    expect(made.shape).toEqual([2]);
  });

  test("refuses what does not fit", () => {
    expect(() => tensor("float16" as DType, [1])).toThrow(
      'dtype must be one of float32, float64, int32, int64, uint8, bool; got "float16"',
    );
    expect(() => tensor("float32", [2, -1])).toThrow("every dimension must be a whole number ≥ 0; got shape [2, -1]");
    expect(() => tensor("float32", [1.5])).toThrow("got shape [1.5]");
    expect(() => tensor("float32", [2, 2], [1, 2, 3])).toThrow("shape [2, 2] needs 4 elements; got 3");
    expect(() => tensor("float32", [2], new Float64Array(2) as never)).toThrow(
      "float32 elements must come in a Float32Array; got Float64Array",
    );
  });
});

describe("rows", () => {
  test("are the elements that slicing the nested array gives, in shared memory", () => {
    const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(shapes, fc.nat(), fc.nat(), (shape, a, b) => {
        const whole = tensor(
          "int32",
          shape,
          Array.from({ length: sizeOf(shape) }, (_, i) => i),
        );
        const n = shape[0]!;
        const [from, to] = [a % (n + 1), b % (n + 1)].sort((x, y) => x - y) as [number, number];
        const part = rows(whole, from, to);
        const width = sizeOf(shape.slice(1));
        const expected = Array.from(whole.data).filter(
          (_, i) => Math.floor(i / width) >= from && Math.floor(i / width) < to,
        );
        expect(part.shape).toEqual([to - from, ...shape.slice(1)]);
        expect(Array.from(part.data)).toEqual(expected);
        expect(part.data.buffer).toBe(whole.data.buffer);
      }),
    );
  });

  test("refuses scalars and ranges outside", () => {
    expect(() => rows(tensor("float32", []), 0, 1)).toThrow("core-gpu.rows: 0 ≤ from ≤ to ≤ (a tensor with rows)");
    const x = tensor("float32", [3, 2]);
    for (const [from, to] of [
      [-1, 2],
      [2, 1],
      [0, 4],
    ] as const) {
      expect(() => rows(x, from, to)).toThrow(`0 ≤ from ≤ to ≤ 3; got rows ${from} to ${to}`);
    }
  });
});
