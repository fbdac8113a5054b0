import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Device,
  openDevice,
  ops,
  optimisers,
  type Spec,
  schedules,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";

interface Golden {
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly start: Readonly<Record<string, readonly number[]>>;
  readonly gradients: readonly Readonly<Record<string, readonly number[]>>[];
  readonly rates: readonly number[];
  readonly optimisers: readonly {
    readonly name: "sgd" | "adam" | "adamW";
    readonly options: Readonly<Record<string, number | boolean>>;
    readonly after: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
    readonly norms?: readonly number[];
  }[];
  readonly schedules: readonly { readonly name: string; readonly options: never; readonly rates: readonly number[] }[];
}

const golden: Golden = JSON.parse(readFileSync(new URL("../fixtures/optimisers.json", import.meta.url), "utf8"));

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

type Float = "float32" | "float64";

/** `{ conv: { weight, bias }, scale }` of the golden parameters. */
function treeOf(dtype: Float, data: Readonly<Record<string, readonly number[]>>) {
  const leaf = (name: string): Tensor => tensor(dtype, golden.shapes[name]!, data[name]!);
  return { conv: { weight: leaf("conv.weight"), bias: leaf("conv.bias") }, scale: leaf("scale") };
}

const flat = (tree: ReturnType<typeof treeOf>, prefix: string): Record<string, Tensor> => ({
  [`${prefix}.conv.weight`]: tree.conv.weight,
  [`${prefix}.conv.bias`]: tree.conv.bias,
  [`${prefix}.scale`]: tree.scale,
});

function optimiserOf({ name, options }: Golden["optimisers"][number]) {
  const { clip, every, matricesOnly, ...rest } = options;
  const mask = (_: string, { shape }: Spec) => shape.length > 1;
  const made = optimisers[name]({ ...rest, ...(matricesOnly ? { mask } : {}) });
  return every === undefined ? made : optimisers.accumulate(made);
}

async function follow(dtype: Float, golden_: Golden["optimisers"][number]) {
  const optimise = optimiserOf(golden_);
  const params = treeOf(dtype, golden.start);
  const optimiser = optimise.init(params);
  const step = trace(
    ({ params, optimiser, gradients, learningRate, close }) => {
      const { clip } = golden_.options;
      const clipped =
        clip === undefined
          ? { gradients, norm: ops.sum(learningRate) }
          : optimisers.clipByGlobalNorm(gradients, clip as number);
      const next = optimise.update(clipped.gradients, optimiser, params, { learningRate, weight: 1, close });
      return { norm: clipped.norm, params: next.params, optimiser: next.state };
    },
    { params, optimiser, gradients: params, learningRate: spec(dtype, []), close: spec("bool", []) },
  );
  const runner = await device.compile(step, { state: ["params", "optimiser"], initial: { params, optimiser } });
  const norms: number[] = [];
  const after: Record<string, Record<string, Tensor>> = {};
  for (const [at, gradients] of golden.gradients.entries()) {
    const learningRate = tensor(dtype, [], [golden.rates[at]!]);
    const close = tensor("bool", [], [(at + 1) % Number(golden_.options.every ?? 1) === 0 ? 1 : 0]);
    const results = await runner.run({ ...flat(treeOf(dtype, gradients), "gradients"), learningRate, close });
    norms.push(results.norm!.data[0] as number);
    if (String(at + 1) in golden_.after) after[at + 1] = await runner.readState();
  }
  await runner.release();
  return { norms, after };
}

describe.each(golden.optimisers.map((entry) => [`${entry.name} ${JSON.stringify(entry.options)}`, entry] as const))(
  "%s",
  (_, entry) => {
    test.each([
      ["float64", 1e-13],
      ["float32", 3e-6],
    ] as const)("is PyTorch's over 20 steps in %s", async (dtype, tolerance) => {
      const { norms, after } = await follow(dtype, entry);
      for (const [at, expected] of Object.entries(entry.after)) {
        for (const [name, values] of Object.entries(expected)) {
          const actual = after[at]![`params.${name}`]!;
          expect(actual.dtype).toBe(dtype);
          const scale = Math.max(1, ...values.map(Math.abs));
          const worst = Math.max(...values.map((value, i) => Math.abs(value - Number(actual.data[i])))) / scale;
          expect(worst, `${name} after step ${at}`).toBeLessThan(tolerance);
        }
      }
      entry.norms?.forEach((norm, at) => {
        expect(Math.abs(norms[at]! - norm) / norm).toBeLessThan(tolerance);
      });
    });
  },
);

describe("optimisers", () => {
  const params = { weight: spec("float32", [2, 2]), bias: spec("float32", [2]) };

  test("states begin with zeros like the parameters", () => {
    const zeros = { weight: tensor("float32", [2, 2]), bias: tensor("float32", [2]) };
    expect(optimisers.sgd().init(params)).toEqual({});
    expect(optimisers.sgd({ momentum: 0.5 }).init(params)).toEqual({ momentum: zeros });
    expect(optimisers.adam().init(params)).toEqual({
      firstMoment: zeros,
      secondMoment: zeros,
      firstWeight: tensor("float32", []),
      secondWeight: tensor("float32", []),
    });
    expect(optimisers.accumulate(optimisers.sgd()).init(params)).toEqual({
      optimiser: {},
      gradients: zeros,
      weight: tensor("float32", []),
    });
  });

  test("a rate given as a number is the rate fed, and parameters of two dtypes get along", async () => {
    const mixed = { a: tensor("float32", [2], [1, 2]), b: tensor("float64", [1], [3]) };
    for (const optimise of [optimisers.sgd({ momentum: 0.9, weightDecay: 0.1 }), optimisers.adamW()]) {
      const optimiser = optimise.init(mixed);
      const step = (fed: boolean) =>
        trace(
          ({ params, optimiser, learningRate }) => {
            const clipped = optimisers.clipByGlobalNorm(params, 3).gradients;
            const options = { learningRate: fed ? learningRate : 0.25 };
            return { params: optimise.update(clipped, optimiser, params, options).params };
          },
          { params: mixed, optimiser, learningRate: spec("float32", []) },
        );
      const [fed, fixed] = await Promise.all(
        [true, false].map(async (which) => {
          const runner = await device.compile(step(which), {
            state: ["params", "optimiser"],
            initial: { params: mixed, optimiser: optimise.init(mixed) },
          });
          await runner.run({ learningRate: tensor("float32", [], [0.25]) });
          return runner.readState();
        }),
      );
      for (const name of ["params.a", "params.b"]) {
        expect(fed![name]!.dtype).toBe(fixed![name]!.dtype);
        Array.from(fed![name]!.data, Number).forEach((value, i) => {
          expect(value).toBeCloseTo(Number(fixed![name]!.data[i]), 6);
        });
      }
    }
  });

  test("weight decay that a mask leaves out, and plain descent, cost no nodes", () => {
    const count = (optimise: optimisers.Optimiser) =>
      trace(
        ({ params, gradients, optimiser }) => {
          const next = optimise.update(gradients, optimiser, params, { learningRate: 0.1 });
          return { params: next.params };
        },
        { params, gradients: params, optimiser: optimise.init(params) },
      ).nodes.length;
    expect(count(optimisers.sgd())).toBe(4);
    expect(count(optimisers.sgd({ momentum: 0.9 }))).toBe(8);
    expect(count(optimisers.sgd({ weightDecay: 0.1 }))).toBe(8);
    expect(count(optimisers.sgd({ weightDecay: 0.1, mask: (name) => name === "weight" }))).toBe(6);
    expect(count(optimisers.sgd({ weightDecay: 0.1, mask: () => false }))).toBe(4);
  });

  const traced = (
    optimise: optimisers.Optimiser,
    change: (trees: { gradients: TreeRecord<Value>; state: TreeRecord<Value>; params: TreeRecord<Value> }) => object,
    options: object = { learningRate: 0.1 },
  ) =>
    trace(
      ({ params, gradients, state }) => {
        const trees = { params, gradients, state };
        const changed = { ...trees, ...change(trees) };
        return { ...optimise.update(changed.gradients, changed.state, changed.params, options as never) };
      },
      { params, gradients: params, state: optimise.init(params) },
    );

  test("refuse trees that do not fit together", () => {
    const momentum = optimisers.sgd({ momentum: 0.9 });
    expect(() => traced(momentum, ({ params: { weight } }) => ({ gradients: { weight } }))).toThrow(
      'core-gpu.optimisers.sgd: gradients must have a value like parameter "bias", float32 [2]; got nothing.',
    );
    expect(() => traced(momentum, ({ params }) => ({ gradients: { ...params, extra: params.bias } }))).toThrow(
      'gradients must be a tree like the parameters; got "extra", which is none of them',
    );
    expect(() => traced(momentum, ({ params }) => ({ gradients: { ...params, bias: params.weight } }))).toThrow(
      'parameter "bias", float32 [2]; got float32 [2, 2]',
    );
    expect(() => traced(momentum, () => ({ state: {} }))).toThrow("state.momentum must be a tree like the parameters");
    expect(() => traced(optimisers.adam(), ({ state }) => ({ state: { ...state, firstWeight: undefined } }))).toThrow(
      'core-gpu.optimisers.adam: the state must have a scalar "firstWeight"; got undefined. Pass what `init` gave.',
    );
  });

  test("refuse rates, options and parameters that make no sense", () => {
    const rate = "core-gpu.optimisers.adamW: learningRate must be a number or a float scalar []; got";
    expect(() => traced(optimisers.adamW(), () => ({}), {})).toThrow(`${rate} undefined`);
    expect(() => traced(optimisers.adamW(), () => ({}), { learningRate: Number.NaN })).toThrow(`${rate} NaN`);
    expect(() => traced(optimisers.adamW(), () => ({}), { learningRate: tensor("float32", [2]) })).toThrow(
      `${rate} float32 [2]`,
    );
    expect(() => optimisers.sgd({ momentum: 1 })).toThrow('option "momentum"');
    expect(() => optimisers.sgd({ nesterov: true })).toThrow("nesterov needs momentum above 0");
    expect(() => optimisers.sgd({ mask: 3 as never })).toThrow('option "mask" must be a function (got 3)');
    expect(() => optimisers.adam({ beta2: 1 })).toThrow('option "beta2"');
    expect(() => optimisers.adam({ learningRate: 1 } as never)).toThrow('unknown option "learningRate"');
    expect(() => optimisers.adamW({ epsilon: 0 })).toThrow("core-gpu.optimisers.adamW");
    const accumulating = (options: object) => () =>
      trace(
        ({ params, state, close }) => {
          const given = { learningRate: 1, close, ...options };
          return { ...optimisers.accumulate(optimisers.sgd()).update(params, state, params, given) };
        },
        { params, state: optimisers.accumulate(optimisers.sgd()).init(params), close: spec("bool", []) },
      );
    expect(accumulating({})).toThrow("accumulate: weight must be a number above 0 or a scalar []; got undefined.");
    expect(accumulating({ weight: 0 })).toThrow("got 0.");
    expect(accumulating({ weight: 1, close: true })).toThrow(
      "close must be a bool scalar []; got true. Pass { close }",
    );
    expect(accumulating({ weight: 2 })).not.toThrow();
    expect(() => optimisers.adam().init({ weight: spec("int64", [2]) })).toThrow(
      'parameter "weight" must be float32 or float64 and have a shape without symbols; got int64 [2]',
    );
    expect(() => optimisers.adam().init({ weight: spec("float32", ["n"]) })).toThrow("got float32 [n]");
    expect(() => optimisers.clipByGlobalNorm({}, 1)).toThrow("there must be gradients; got an empty tree");
    expect(() => optimisers.clipByGlobalNorm({}, 0)).toThrow("maximum must be a number above 0; got 0");
  });
});

describe("schedules", () => {
  test.each(golden.schedules.map((entry) => [entry.name, JSON.stringify(entry.options), entry] as const))(
    "%s %s is PyTorch's",
    (name, _, { options, rates }) => {
      const { after, ...rest } = options as { after?: never };
      const make = schedules as unknown as Record<string, (options: unknown) => schedules.Schedule>;
      const schedule =
        after === undefined ? make[name]!(options) : schedules.warmUp(schedules.cosine(after), rest as never);
      rates.forEach((rate, at) => {
        expect(Math.abs(schedule(at) - rate), `step ${at}`).toBeLessThan(1e-14);
      });
    },
  );

  test("stay at their last rate", () => {
    expect(schedules.cosine({ initial: 1, steps: 5, final: 0.25 })(6)).toBe(0.25);
    expect(schedules.polynomial({ initial: 1, steps: 5, final: 0.25, power: 3 })(500)).toBe(0.25);
    const cycle = schedules.oneCycle({ maximum: 1, steps: 10, initialDivisor: 4, finalDivisor: 8 });
    expect(cycle(0)).toBe(0.25);
    expect(cycle(2)).toBe(1);
    expect(cycle(9)).toBeCloseTo(1 / 32, 15);
    expect(cycle(99)).toBe(cycle(9));
    expect(schedules.oneCycle({ maximum: 1, steps: 2 })(0)).toBe(1);
  });

  test("refuse what makes no sense", () => {
    expect(() => schedules.constant(-1)).toThrow("core-gpu.schedules.constant: the rate must be at least 0; got -1");
    expect(() => schedules.constant(1)(0.5)).toThrow("a step must be a whole number from 0; got 0.5");
    expect(() => schedules.step({ initial: 1, boundaries: [3, 3] })).toThrow("boundaries must ascend; got [3, 3]");
    expect(() => schedules.cosine({ initial: 1, steps: 0 })).toThrow('option "steps"');
    expect(() => schedules.warmUp(3 as never, { steps: 2 })).toThrow("must be a function of the step; got 3");
    expect(() => schedules.oneCycle({ maximum: 1, steps: 10, rise: 1 })).toThrow('option "rise"');
  });
});
