import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type Model,
  ops,
  programToModel,
  quantiseMatrices,
  spec,
  type Tensor,
  tensor,
  trace,
} from "../../src/index.ts";
import { hostTensor } from "../../src/program/import/weights.ts";
import { generator } from "../../src/random.ts";
import { fixture, randomFeeds, runOnce } from "../onnx-support.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../fixtures/quantise/golden.json", import.meta.url), "utf8"),
).matrices;

/** The matrix of generate.py. */
function matrix(): Tensor<"float32"> {
  const weight = tensor(
    "float32",
    [70, 5],
    Array.from({ length: 350 }, (_, i) => (((i * 7919 + 13) % 1009) - 504) / 504),
  );
  for (let k = 0; k < 32; k++) weight.data[5 * k] = 0;
  return weight;
}

const product = (weight: Tensor<"float32">): Model =>
  programToModel(trace(({ x }) => ({ y: ops.matmul(x, weight) }), { x: spec("float32", ["n", weight.shape[0]!]) }));
const stored = ({ proto }: Model, end: string) =>
  hostTensor("test", proto.graph!.initializer.find(({ name }) => name.endsWith(end))!).data as Uint8Array;

/** The matrix [depth, columns] that codes and scales stand for. */
function dequantised(model: Model, bits: 4 | 8, depth: number, columns: number): Float32Array {
  const [codes, scales] = [stored(model, "/codes"), stored(model, "/scales") as unknown as Float32Array];
  const blocks = Math.ceil(depth / 32);
  return Float32Array.from({ length: depth * columns }, (_, i) => {
    const [k, n] = [Math.floor(i / columns), i % columns];
    const place = n * blocks * 32 + k;
    const code = bits === 8 ? codes[place]! : (codes[place >> 1]! >> (4 * (place & 1))) & 15;
    return (code - 2 ** (bits - 1)) * scales[n * blocks + Math.floor(k / 32)]!;
  });
}

describe.each([4, 8] as const)("%d bits", (bits) => {
  test("codes and scales are those of the runtime's own quantiser", () => {
    const { model } = quantiseMatrices(product(matrix()), { bits });
    expect([...stored(model, "/scales")].map((scale) => scale + 0)).toEqual(
      golden[bits].scales.map((scale: number) => Math.fround(scale) + 0),
    );
    expect([...stored(model, "/codes")]).toEqual(golden[bits].codes);
  });

  test("answers are those of the matrix that codes stand for", async () => {
    const random = generator(4);
    const weight = tensor(
      "float32",
      [96, 24],
      Float32Array.from({ length: 96 * 24 }, () => random.normal()),
    );
    const x = tensor(
      "float32",
      [3, 96],
      Float32Array.from({ length: 288 }, () => random.normal()),
    );
    for (const [activations, bound] of [
      ["float32", 2e-5],
      ["int8", 2e-2],
    ] as const) {
      const { model, matrices } = quantiseMatrices(product(weight), { bits, activations });
      const rounded = tensor("float32", [96, 24], dequantised(model, bits, 96, 24));
      const [{ y: got }, { y: expected }] = [await runOnce(model, { x }), await runOnce(product(rounded), { x })];
      const size = Math.max(...(expected!.data as Float32Array).map(Math.abs));
      (got!.data as Float32Array).forEach((value, at) => {
        expect(Math.abs(value - (expected!.data as Float32Array)[at]!) / size).toBeLessThan(bound);
      });
      const difference = rounded.data.reduce((sum, value, at) => sum + (value - weight.data[at]!) ** 2, 0);
      const error = Math.sqrt(difference / weight.data.reduce((sum, value) => sum + value ** 2, 0));
      expect(matrices).toEqual([{ node: "y", op: "MatMul", bits, error: expect.closeTo(error, 6) }]);
    }
  });

  test("a transformer's matrices, a fully connected layer with its bias among them", async () => {
    const model = fixture("transformer");
    const made = quantiseMatrices(model, { bits });
    const feeds = randomFeeds(model, 4);
    const [expected, got] = [await runOnce(model, feeds), await runOnce(made.model, feeds)];
    const name = model.proto.graph!.output[0]!.name;
    const [a, b] = [expected[name]!.data as Float32Array, got[name]!.data as Float32Array];
    const difference = Math.sqrt(a.reduce((sum, value, at) => sum + (value - b[at]!) ** 2, 0));
    const relative = difference / Math.sqrt(a.reduce((sum, value) => sum + value ** 2, 0));
    expect(relative).toBeLessThan(bits === 8 ? 0.03 : 0.3);
    expect(made.matrices.filter((each) => each.bits === bits).map(({ op }) => op)).toContain("Gemm");
    const left = made.matrices.filter((each) => each.bits === 32);
    // Scores and weighted sums of attention: six products of two activations.
    expect(left.map(({ reason }) => reason)).toEqual(new Array(6).fill("its weights are not constant float32"));
    expect(made.bytes.after).toBeLessThan(made.bytes.before);
  });
});

describe("what is refused", () => {
  const model = product(matrix());
  test("nothing to round, or rounded already", () => {
    const { model: rounded } = quantiseMatrices(model);
    expect(() => quantiseMatrices(rounded)).toThrow(
      /must have a MatMul or Gemm with a constant float32 matrix; got none/,
    );
    expect(() => quantiseMatrices(model, { keepFloat: ["y"] })).toThrow(/got "y": asked for/);
  });

  test("weights that are not finite, unknown options and names", () => {
    const broken = matrix();
    broken.data[7] = Number.NaN;
    expect(() => quantiseMatrices(product(broken))).toThrow(/weights must be finite; got NaN in .* of node "y"/);
    expect(() => quantiseMatrices(model, { bits: 3 } as object)).toThrow(/bits/);
    expect(() => quantiseMatrices(model, { block: 48 })).toThrow(/block.*power of two/);
    expect(() => quantiseMatrices(model, { keepFloat: ["z"] })).toThrow(/keepFloat must name nodes/);
    expect(() => quantiseMatrices(undefined as unknown as Model)).toThrow(/the model must be one/);
  });
});
