import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  compileProgram,
  type Device,
  generator,
  gradients,
  InputError,
  openDevice,
  ops,
  type Spec,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const random = generator(3);

function drawn(shape: readonly number[]): Tensor<"float32"> {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  return tensor(
    "float32",
    shape,
    Float32Array.from({ length: size }, () => random.normal()),
  );
}

async function run(
  inputs: Readonly<Record<string, Tensor>>,
  fn: (values: Record<string, Value>) => Record<string, Value>,
): Promise<Record<string, Tensor>> {
  const specs = Object.fromEntries(
    Object.entries(inputs).map(([name, { dtype, shape }]): [string, Spec] => [name, spec(dtype, shape)]),
  );
  const session = await compileProgram(device, trace(fn as never, specs as never), { opset: 17 });
  const results = await session.run(inputs);
  await session.release();
  return results;
}

function largestDifference(a: Tensor, b: Tensor): number {
  const [left, right] = [Array.from(a.data, Number), Array.from(b.data, Number)];
  return Math.max(...left.map((value, at) => Math.abs(value - right[at]!)));
}

describe("attention", () => {
  it("causal over many tokens, in blocks, is attention with the mask, and so are its gradients", async () => {
    const t = 300; // two whole blocks and a part of one
    const inputs = { q: drawn([1, 2, t, 4]), k: drawn([1, 2, t, 4]), v: drawn([1, 2, t, 3]), w: drawn([1, 2, t, 3]) };
    const seen = tensor(
      "bool",
      [t, t],
      Array.from({ length: t * t }, (_, at) => (at % t <= Math.floor(at / t) ? 1 : 0)),
    );
    const results = await run(inputs, ({ q, k, v, w }) => {
      const both = [{ causal: true }, { mask: seen }].map((options) => {
        const y = ops.attention(q!, k!, v!, options);
        return { y, ...gradients(ops.sum(ops.mul(y, w!)), { q: q!, k: k!, v: v! }) };
      });
      return both as never;
    });
    for (const name of ["y", "q", "k", "v"]) {
      expect(largestDifference(results[`0.${name}`]!, results[`1.${name}`]!), name).toBeLessThan(2e-5);
    }
  });

  it("a key that is hidden has no influence at all", async () => {
    const inputs = { q: drawn([5, 4]), k: drawn([5, 4]), v: drawn([5, 4]) };
    const last = (tensorOf: Tensor<"float32">) => {
      const data = Float32Array.from(tensorOf.data);
      data.fill(1e3, 16);
      return { ...tensorOf, data };
    };
    const causal = ({ q, k, v }: Record<string, Value>) => ({
      y: ops.slice(ops.attention(q!, k!, v!, { causal: true }), { axis: 0, to: 4 }),
    });
    const before = await run(inputs, causal);
    const after = await run({ ...inputs, k: last(inputs.k), v: last(inputs.v) }, causal);
    expect(after.y!.data).toEqual(before.y!.data);
  });
});

describe("crossEntropy", () => {
  it.each([
    ["NaN", Number.NaN, 0],
    ["NaN", Number.NaN, 1],
    ["NaN", Number.NaN, 39],
    ["infinite", Number.POSITIVE_INFINITY, 3],
  ])("does not hide a %s logit (%f at %i)", async (_, bad, at) => {
    const logits = drawn([3, 40]);
    logits.data[40 + at] = bad;
    const { losses } = await run({ logits }, (values) => ({
      losses: ops.crossEntropy(values.logits!, tensor("int64", [3], [0, 1, 2]), { reduction: "none" }),
    }));
    expect(Array.from(losses!.data, Number).map(Number.isFinite)).toEqual([true, false, true]);
  });
});

describe("crossEntropy's labels", () => {
  it.each([-1, -100, 5, 40])("%i of 5 classes is refused and no class in silence", async (label) => {
    const attempt = (options: object) =>
      run({ logits: drawn([2, 5]) }, ({ logits }) => ({
        loss: ops.crossEntropy(logits!, tensor("int64", [2], [4, label]), options),
      }));
    await expect(attempt({})).rejects.toThrow(/out of range|out of data bounds/i);
    expect(Number((await attempt({ ignoreIndex: label })).loss!.data[0])).toBeGreaterThan(0);
  });
});

describe("second order", () => {
  const cases: readonly (readonly [string, readonly (readonly number[])[], (...values: Value[]) => Value])[] = [
    ["crossEntropy", [[3, 4]], (x) => ops.crossEntropy(x, tensor("int64", [3], [0, 3, 1]))],
    ["layerNorm", [[3, 4], [4], [4]], (x, scale, bias) => ops.sum(ops.tanh(ops.layerNorm(x, scale, bias)))],
    ["rmsNorm", [[3, 4], [4]], (x, scale) => ops.sum(ops.tanh(ops.rmsNorm(x, scale)))],
    [
      "attention",
      [
        [3, 2],
        [4, 2],
        [4, 2],
      ],
      (q, k, v) => ops.sum(ops.tanh(ops.attention(q, k, v))),
    ],
    ["linear", [[3, 2], [4, 2], [4]], (x, weight, bias) => ops.sum(ops.tanh(ops.linear(x, weight, bias)))],
    ["gather", [[4, 2]], (x) => ops.sum(ops.tanh(ops.gather(x, tensor("int64", [3], [1, 1, 3]))))],
    ["slice", [[4, 5]], (x) => ops.sum(ops.tanh(ops.slice(x, { axis: 1, step: 2 })))],
    ["topK", [[2, 5]], (x) => ops.sum(ops.tanh(ops.topK(x, 2).values))],
  ];
  it.each(cases)("%s: the gradient's gradient is its slope", async (_, shapes, fn) => {
    const inputs = Object.fromEntries(shapes.map((shape, index) => [`x${index}`, drawn(shape)]));
    const weights = shapes.map(drawn);
    const along = shapes.map(drawn);
    // slope = Σ weights · gradient; its derivative along a direction, by rule and by differences.
    const program = (values: Record<string, Value>) => {
      const list = Object.values(values);
      const first = gradients(fn(...list), list);
      const slope = first.map((g, index) => ops.sum(ops.mul(g, weights[index]!))).reduce((a, b) => ops.add(a, b));
      const second = gradients(slope, list);
      const change = second.map((g, index) => ops.sum(ops.mul(g, along[index]!))).reduce((a, b) => ops.add(a, b));
      return { slope, change };
    };
    const moved = (by: number) =>
      Object.fromEntries(
        Object.entries(inputs).map(([name, value], index): [string, Tensor] => [
          name,
          { ...value, data: value.data.map((x, at) => x + by * along[index]!.data[at]!) },
        ]),
      );
    const here = await run(inputs, program);
    const [ahead, behind] = [await run(moved(2e-3), program), await run(moved(-2e-3), program)];
    const differences = (Number(ahead.slope!.data[0]) - Number(behind.slope!.data[0])) / 4e-3;
    const change = Number(here.change!.data[0]);
    expect(Math.abs(change)).toBeGreaterThan(1e-3);
    expect(Math.abs(change - differences)).toBeLessThan(5e-3 * Math.max(1, Math.abs(change)));
  });
});

describe("what meets in one place adds up", () => {
  it.each([11, 16, 17])(
    "in indexAdd with thousands of updates on few entries, each time the same, opset %i",
    async (opset) => {
      const [rows, d, m] = [7, 16, 3000];
      const places = Array.from({ length: m }, () => random.integer(rows));
      const updates = tensor(
        "float32",
        [m, d],
        Float32Array.from({ length: m * d }, () => random.integer(9) - 4),
      );
      const program = trace(({ x, i, u }) => ({ y: ops.indexAdd(x, i, u) }), {
        x: spec("float32", [rows, d]),
        i: spec("int64", [m]),
        u: spec("float32", [m, d]),
      });
      const session = await compileProgram(device, program, { opset });
      const feeds = { x: tensor("float32", [rows, d]), i: tensor("int64", [m], places), u: updates };
      const wanted = new Float32Array(rows * d);
      places.forEach((place, j) => {
        for (let at = 0; at < d; at++) wanted[place * d + at]! += updates.data[j * d + at]!;
      });
      for (let repeat = 0; repeat < 5; repeat++) expect((await session.run(feeds)).y!.data).toEqual(wanted);
      await session.release();
    },
  );
});

describe("dropoutMask", () => {
  it("drops the given share, alike for one seed, and is kept at rate 0", () => {
    const { data } = ops.dropoutMask(generator(5), [100, 100], 0.3);
    const dropped = data.filter((kept) => kept === 0).length;
    // The binomial distribution's standard deviation is 46.
    expect(Math.abs(dropped - 3000)).toBeLessThan(4 * 46);
    expect(ops.dropoutMask(generator(5), [100, 100], 0.3).data).toEqual(data);
    expect(ops.dropoutMask(generator(6), [100, 100], 0.3).data).not.toEqual(data);
    expect(ops.dropoutMask(generator(5), [3], 0).data).toEqual(Uint8Array.of(1, 1, 1));
  });
});

describe("rotaryTables", () => {
  it("turn token t, pair i by t · base^(−2i/d), so that products depend on distances only", async () => {
    const { cos, sin } = ops.rotaryTables(6, 4, { base: 100 });
    expect(cos.data[2 * 3 + 1]).toBeCloseTo(Math.cos(3 * 100 ** -0.5), 6);
    expect(sin.data[2 * 5]).toBeCloseTo(Math.sin(5), 6);
    const [q, k] = [drawn([1, 4]), drawn([1, 4])];
    const { scores } = await run({ q, k }, (values) => {
      const turned = [values.q!, values.k!].map((x) => ops.rotaryEmbedding(ops.expand(x, [6, 4]), cos, sin));
      return { scores: ops.matmul(turned[0]!, turned[1]!, { transposeB: true }) };
    });
    for (let t = 0; t < 5; t++) expect(scores!.data[7 * t]).toBeCloseTo(Number(scores!.data[0]), 4);
    for (let t = 0; t < 4; t++) expect(scores!.data[7 * t + 1]).toBeCloseTo(Number(scores!.data[1]), 4);
  });
});

describe("bad input is refused by name", () => {
  const x = (shape: readonly (number | string)[], dtype: Spec["dtype"] = "float32") => spec(dtype, shape);
  const cases: readonly (readonly [string, readonly Spec[], (...values: Value[]) => Value, RegExp])[] = [
    ["matmul", [x([2, 3]), x([4, 3])], (a, b) => ops.matmul(a, b), /ops\.matmul: .*same k; got float32 \[2, 3\] and/],
    [
      "matmul",
      [x([2, 3]), x([2, 3])],
      (a, b) => ops.matmul(a, b, { transposeB: true, transpose: 1 } as never),
      /unknown option "transpose"/,
    ],
    [
      "crossEntropy",
      [x([4, 5]), x([5], "int64")],
      (a, b) => ops.crossEntropy(a, b),
      /labels must have the shape of logits/,
    ],
    ["crossEntropy", [x([4, 5]), x([4])], (a, b) => ops.crossEntropy(a, b), /dtype must be int32 or int64/],
    [
      "crossEntropy",
      [x([4, 5]), x([4], "int64"), x([4])],
      (a, b, c) => ops.crossEntropy(a, b, { classWeights: c }),
      /classWeights must be float32 \[5\].*got float32 \[4\]/,
    ],
    ["klDivergence", [x([])], (a) => ops.klDivergence(a, a), /"batchmean" needs a first axis/],
    ["layerNorm", [x([4, 5]), x([4])], (a, b) => ops.layerNorm(a, b, b), /scale and bias must have shape \[5\]/],
    [
      "groupNorm",
      [x(["n", 6, 2]), x([6])],
      (a, b) => ops.groupNorm(a, b, b, { groups: 4 }),
      /c a multiple of groups \(4\); got float32 \[n, 6, 2\]/,
    ],
    [
      "groupNorm",
      [x(["n", 6, 2]), x([3])],
      (a, b) => ops.groupNorm(a, b, b, { groups: 3 }),
      /scale and bias must be float32 \[6\]/,
    ],
    [
      "attention",
      [x([2, 4]), x([3, 4])],
      (a, b) => ops.attention(a, b, b, { causal: true }),
      /as many queries as keys; got float32 \[2, 4\] and float32 \[3, 4\]/,
    ],
    ["attention", [x([2, 4]), x([3, 5])], (a, b) => ops.attention(a, b, b), /queries must be/],
    ["attention", [x([2, "d"])], (a) => ops.attention(a, a, a), /scale must be given/],
    ["attention", [x([2, 4]), x([5], "bool")], (a, m) => ops.attention(a, a, a, { mask: m }), /mask must broadcast/],
    ["einsum", [x([2, 3]), x([3, 4])], (a, b) => ops.einsum("ij,jk", a, b), /must be like "ij,jk->ik"/],
    ["einsum", [x([2, 2])], (a) => ops.einsum("ii->i", a), /no letter twice/],
    [
      "einsum",
      [x([2, 3]), x([4, 4])],
      (a, b) => ops.einsum("ij,jk->ik", a, b),
      /"j" of .* must have one size; got 3 and 4/,
    ],
    ["einsum", [x([2, 3])], (a) => ops.einsum("ijk->k", a), /one letter for each axis/],
    ["resize", [x(["n", 3, "h", 4])], (a) => ops.resize(a, [2, 2]), /known h and w/],
    ["resize", [x(["n", 3, 4, 4])], (a) => ops.resize(a, [2]), /size \[h, w\]/],
    ["rotaryEmbedding", [x([3, 5])], (a) => ops.rotaryEmbedding(a, 1, 0), /with d even; got float32 \[3, 5\]/],
    ["dropout", [x([3]), x([3], "bool")], (a, m) => ops.dropout(a, m, 1), /"rate"/],
    [
      "takeAlongAxis",
      [x([2, 3]), x([3, 1], "int64")],
      (a, i) => ops.takeAlongAxis(a, i),
      /shape of x except on axis 1/,
    ],
    [
      "scatterAdd",
      [x([2, 3]), x([2, 1], "int64"), x([2, 2])],
      (a, i, u) => ops.scatterAdd(a, i, u),
      /updates must have the indices' shape/,
    ],
    [
      "indexAdd",
      [x([5, 3]), x([2], "int64"), x([3, 3])],
      (a, i, u) => ops.indexAdd(a, i, u),
      /updates must be float32 \[2, 3\]/,
    ],
    ["sort", [x(["n", "t"])], (a) => ops.sort(a).values, /known size; got axis -1/],
  ];
  it.each(cases)("%s %#", (_, specs, fn, message) => {
    const attempt = () => trace((inputs) => ({ y: fn(...inputs.x) }), { x: specs });
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(message);
  });
});
