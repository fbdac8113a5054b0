import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  compileProgram,
  type Device,
  generator,
  layers,
  openDevice,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "../../src/index.ts";
import { type Packed, unpack } from "../program-support.ts";

interface Golden {
  readonly params: Readonly<Record<string, Packed>>;
  readonly inputs: readonly Packed[];
  readonly outputs: readonly Packed[];
  readonly options: Readonly<Record<string, unknown>>;
}

const fixture = JSON.parse(readFileSync(new URL("../../fixtures/layers.json", import.meta.url), "utf8")) as {
  readonly layers: Readonly<Record<string, Golden>>;
  readonly batchNorm: Golden & { readonly after: Golden["params"]; readonly frozen: Packed };
};

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** Paths made into nested records, arrays where the keys are numbers. */
function nested(flat: Readonly<Record<string, Packed>>): Record<string, Tensor> {
  const root: Record<string, unknown> = {};
  for (const [path, packed] of Object.entries(flat)) {
    const keys = path.split(".");
    let at = root;
    for (const key of keys.slice(0, -1)) {
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    at[keys.at(-1)!] = unpack(packed);
  }
  return root as Record<string, Tensor>;
}

function close(given: Tensor, expected: Packed): void {
  expect(given.shape).toEqual(expected.shape);
  const scale = Math.max(1, ...expected.data.map((value) => Math.abs(Number(value))));
  given.data.forEach((value, index) => {
    expect(Math.abs(Number(value) - Number(expected.data[index]))).toBeLessThan(2e-5 * scale);
  });
}

// biome-ignore lint/suspicious/noExplicitAny: each layer takes parameters of its own
type Layer = (params: any, x: Value, options: any) => Value;
const functions: Record<string, Layer> = {
  ...layers,
  conv1d: layers.conv,
  causalAttention: layers.multiHeadAttention,
  mlp: (params: object, x: Value) => layers.mlp(Object.values(params) as never, x),
} as never;

test.each(Object.keys(fixture.layers))("%s computes what PyTorch's does", async (name) => {
  const { params, inputs, outputs, options } = fixture.layers[name]!;
  const values = nested(params);
  const x = unpack(inputs[0]!);
  const given = Object.keys(options).length === 0 ? undefined : options;
  const program = trace(
    (inputs: { params: unknown; x: Value }) => ({ y: functions[name]!(inputs.params, inputs.x, given) }),
    { params: layers.specsOf(values), x: spec(x.dtype, ["n", ...x.shape.slice(1)]) } as never,
  );
  const session = await compileProgram(device, program);
  const { y } = await session.run({ ...layers.flattenParameters({ params: values }), x });
  close(y!, outputs[0]!);
});

describe("batchNorm", () => {
  test.each([
    ["known", 4],
    ["symbolic", "n"],
  ])("follows its statistics as PyTorch's does, %s batch", async (_, n) => {
    const { params, inputs, outputs, after, frozen } = fixture.batchNorm;
    const options = { epsilon: 1e-3, momentum: 0.2 };
    const norm = nested(params) as unknown as layers.BatchNormParameters;
    const program = trace(
      ({ norm, x }) => {
        const { y, updated } = layers.batchNorm(norm, x, { ...options, training: true });
        return { y, norm: layers.mergeParameters(norm, updated) };
      },
      { norm: layers.specsOf(norm), x: spec("float32", [n, 3, 2, 5]) },
    );
    const runner = await device.compile(program, { state: ["norm"], initial: { norm } });
    for (const [index, input] of inputs.entries()) close((await runner.run({ x: unpack(input) })).y!, outputs[index]!);
    const state = await runner.readState();
    for (const [name, expected] of Object.entries(after)) close(state[`norm.${name}`]!, expected);
    const still = trace(
      ({ norm, x }) => {
        const { y, updated } = layers.batchNorm(norm, x, { ...options, training: false });
        expect(updated.runningMean).toBe(norm.runningMean);
        return { y };
      },
      { norm: layers.specsOf(norm), x: spec("float32", [n, 3, 2, 5]) },
    );
    const session = await compileProgram(device, still);
    close((await session.run({ ...state, x: unpack(inputs[0]!) })).y!, frozen);
  });
});

describe("parameters", () => {
  const params = () => ({
    blocks: [{ norm: layers.initBatchNorm(2) }, layers.initLinear(generator(1), { in: 2, out: 3 })] as const,
    head: layers.initConv(generator(2), { in: 2, out: 4, kernel: 3, bias: false }),
  });

  test("trainable leaves the statistics out, in every kind of tree", () => {
    const kept = layers.trainable(params());
    expect(Object.keys(layers.flattenParameters(kept))).toEqual([
      "blocks.0.norm.weight",
      "blocks.0.norm.bias",
      "blocks.1.weight",
      "blocks.1.bias",
      "head.weight",
    ]);
    expect(layers.isStatistic("a.runningMean")).toBe(true);
    expect(layers.isStatistic("a.runningMeans")).toBe(false);
  });

  test("merging puts updates in their places and refuses others", () => {
    const before = params();
    const weight = tensor("float32", [3, 2]);
    const merged = layers.mergeParameters(before, { blocks: { 1: { weight } } }, {});
    expect(merged.blocks[1].weight).toBe(weight);
    expect(merged.blocks[1].bias).toBe(before.blocks[1].bias);
    expect(merged.blocks[0].norm).toEqual(before.blocks[0].norm);
    expect(() => layers.mergeParameters(before, { tail: weight })).toThrow(
      'core-gpu.layers.mergeParameters: updates may have only paths of the parameters; got "tail". Paths: blocks.0.norm.weight',
    );
  });

  test("flat and back, and counted", () => {
    const before = params();
    const flat = layers.flattenParameters({ net: before });
    expect(layers.unflattenParameters(flat, before, "net.")).toEqual(before);
    expect(layers.countParameters(before)).toBe(2 + 2 + 6 + 3 + 4 * 2 * 9);
    const { "net.head.weight": head, ...rest } = flat;
    expect(() => layers.unflattenParameters({ ...rest, "net.tail": head! }, before, "net.")).toThrow(
      'the tensors must be those of the tree by name; got missing "net.head.weight"; unknown "net.tail". Are they of another network?',
    );
    expect(() =>
      layers.unflattenParameters({ ...flat, "net.head.weight": tensor("float32", [1]) }, before, "net."),
    ).toThrow('"net.head.weight" is float32 [1], not float32 [4, 2, 3, 3]');
  });

  test("wrong options are refused by name", () => {
    const random = generator(1);
    expect(() => layers.initLinear(random, { in: 0, out: 2 })).toThrow(
      'core-gpu.layers.initLinear: options must be valid; got option "in" too small',
    );
    expect(() => layers.initConv(random, { in: 3, out: 4, kernel: 3, groups: 2 })).toThrow(
      "got 3 and 4 channels in 2 groups.",
    );
    expect(() => layers.initMlp(random, [3])).toThrow("at least two sizes are needed; got [3].");
    const attention = layers.initMultiHeadAttention(random, { features: 6 });
    expect(() =>
      trace(({ params, x }) => ({ y: layers.multiHeadAttention(params, x, { heads: 4 }) }), {
        params: layers.specsOf(attention),
        x: spec("float32", ["n", 2, 6]),
      }),
    ).toThrow("x must be [n, t, d], d a multiple of the heads; got [n, 2, 6] with 4 heads.");
  });
});

test("initialisers can be chosen, and biases left out", () => {
  const made = layers.initLinear(generator(1), {
    in: 2,
    out: 3,
    initialWeight: layers.ones,
    initialBias: layers.constant(0.5),
  });
  expect([...made.weight.data, ...made.bias.data].map(Number)).toEqual([1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5]);
  expect(Object.keys(layers.initConvTranspose(generator(1), { in: 2, out: 3, kernel: [5], bias: false }))).toEqual([
    "weight",
  ]);
  expect(layers.initMlp(generator(1), [4, 3, 2]).map(({ weight }) => weight.shape)).toEqual([
    [3, 4],
    [2, 3],
  ]);
});
