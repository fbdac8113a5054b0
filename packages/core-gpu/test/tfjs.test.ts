import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Device,
  generator,
  gradients,
  InputError,
  openDevice,
  ops,
  type Runner,
  spec,
  type TfjsDevice,
  tensor,
  tfjsDevice,
  trace,
} from "../src/index.ts";
import { checkNodeBinding } from "../src/tfjs/node-binding.ts";
import { sizeOfDimension } from "../src/tfjs/sizes.ts";

tf.env().set("IS_TEST", true);

let device: TfjsDevice;
let before: number;
beforeEach(async () => {
  await tf.setBackend("cpu");
  before = tf.memory().numTensors;
  device = tfjsDevice(tf);
});
afterEach(async () => {
  await device.close();
  expect(tf.memory().numTensors, "tensors left behind").toBe(before);
});

/** One step of descent with momentum for a small convolutional network: all that a training step has. */
function trainingStep() {
  const parameters = {
    filter: spec("float32", [4, 1, 3, 3]),
    scale: spec("float32", [4]),
    bias: spec("float32", [4]),
    weight: spec("float32", [3, 4]),
  };
  type Name = keyof typeof parameters;
  const names = Object.keys(parameters) as Name[];
  return trace(
    ({ params, momentum, x, y, rate }) => {
      const features = ops.conv(x, params.filter, { padding: 1, stride: 2 });
      const normal = ops.batchNormTraining(features, params.scale, params.bias);
      const pooled = ops.globalAveragePool(ops.relu(normal.y));
      const logits = ops.linear(ops.flatten(pooled), params.weight);
      const loss = ops.crossEntropy(logits, y);
      const slopes = gradients(loss, params);
      const moved = names.map((name) => ops.add(ops.mul(momentum[name], 0.9), slopes[name]));
      return {
        loss,
        logits,
        params: Object.fromEntries(names.map((name, at) => [name, ops.sub(params[name], ops.mul(moved[at]!, rate))])),
        momentum: Object.fromEntries(names.map((name, at) => [name, moved[at]!])),
      };
    },
    {
      params: parameters,
      momentum: parameters,
      x: spec("float32", ["n", 1, 6, 6]),
      y: spec("int64", ["n"]),
      rate: spec("float32", []),
    },
  );
}

function initial() {
  const random = generator(3);
  const normal = (shape: readonly number[]) => {
    const made = tensor("float32", shape);
    made.data.forEach((_, at) => {
      made.data[at] = random.normal() * 0.5;
    });
    return made;
  };
  const shapes = { filter: [4, 1, 3, 3], scale: [4], bias: [4], weight: [3, 4] };
  const entries = Object.entries(shapes);
  return {
    params: Object.fromEntries(entries.map(([name, shape]) => [name, normal(shape)])),
    momentum: Object.fromEntries(entries.map(([name, shape]) => [name, tensor("float32", shape)])),
  };
}

function batch(seed: number) {
  const random = generator(seed);
  const x = tensor("float32", [8, 1, 6, 6]);
  x.data.forEach((_, at) => {
    x.data[at] = random.normal();
  });
  const y = tensor(
    "int64",
    [8],
    Array.from({ length: 8 }, () => random.integer(3)),
  );
  return { x, y, rate: tensor("float32", [], [0.1]) };
}

describe("a training step", () => {
  let onnx: Device;
  beforeAll(async () => {
    onnx = await openDevice("cpu");
  });
  afterAll(() => onnx.close());

  it("ten steps give ONNX Runtime's losses and weights", async () => {
    const step = trainingStep();
    const options = { state: ["params", "momentum"], initial: initial() };
    const runners: Runner[] = [await device.compile(step, options), await onnx.compile(step, options)];
    const losses: number[][] = [[], []];
    for (let number = 0; number < 10; number++) {
      for (const [which, runner] of runners.entries()) {
        const { loss } = await runner.run(batch(number % 2), { outputs: ["loss"] });
        losses[which]!.push(Number(loss!.data[0]));
      }
    }
    losses[0]!.forEach((loss, at) => {
      expect(loss).toBeCloseTo(losses[1]![at]!, 5);
    });
    expect(losses[0]!.at(-1)).toBeLessThan(losses[0]![0]!);
    const [ours, theirs] = await Promise.all(runners.map((runner) => runner.readState()));
    expect(Object.keys(ours!)).toEqual(Object.keys(theirs!));
    for (const [name, value] of Object.entries(ours!)) {
      value.data.forEach((element, at) => {
        expect(Number(element)).toBeCloseTo(Number(theirs![name]!.data[at]), 4);
      });
    }
    await runners[1]!.release();
  });

  it("takes as many of tfjs's tensors after twenty steps as after one", async () => {
    const runner = await device.compile(trainingStep(), { state: ["params", "momentum"], initial: initial() });
    await runner.run(batch(0));
    const { numTensors, numBytes } = tf.memory();
    for (let number = 0; number < 20; number++) await runner.run(batch(number));
    expect(tf.memory()).toMatchObject({ numTensors, numBytes });
  });

  it("a run that fails leaves the state and nothing else", async () => {
    const program = trace(({ total, x, index }) => ({ total: ops.add(total, 1), y: ops.gather(x, index) }), {
      total: spec("float32", []),
      x: spec("float32", [2]),
      index: spec("int64", ["n"]),
    });
    const runner = await device.compile(program, { state: ["total"], initial: { total: tensor("float32", [], [1]) } });
    const held = tf.memory().numTensors;
    const x = tensor("float32", [2], [5, 6]);
    await expect(runner.run({ x, index: tensor("int64", [1], [2]) })).rejects.toThrow(
      /core-gpu\.Runner\.run: tfjs's back end "cpu" must be able to compute ops\.gather; got ".*2.*"/,
    );
    expect(tf.memory().numTensors).toBe(held);
    expect((await runner.readState()).total!.data).toEqual(Float32Array.of(1));
    const { y } = await runner.run({ x, index: tensor("int64", [3], [1, -2, 0]) });
    expect(y!.data).toEqual(Float32Array.of(6, 5, 5));
    expect((await runner.readState()).total!.data).toEqual(Float32Array.of(2));
  });

  it("calls that are started together run one after the other", async () => {
    const program = trace(({ total, x }) => ({ total: ops.add(total, x), y: ops.mul(total, 1) }), {
      total: spec("float32", []),
      x: spec("float32", []),
    });
    const runner = await device.compile(program, { state: ["total"], initial: { total: tensor("float32", [], [0]) } });
    const feeds = [1, 2, 3].map((x) => ({ x: tensor("float32", [], [x]) }));
    const results = await Promise.all(feeds.map((feed) => runner.run(feed)));
    expect(results.map(({ y }) => y!.data[0])).toEqual([0, 1, 3]);
  });
});

describe("runner", () => {
  const program = trace(
    ({ x, weight, flags }) => ({
      same: x,
      y: ops.mul(x, weight),
      kept: ops.compress(x, flags, { kept: "kept" }),
      also: x,
    }),
    { x: spec("float32", ["n"]), weight: spec("float32", []), flags: spec("bool", ["n"]) },
  );
  const feeds = { x: tensor("float32", [3], [1, 2, 3]), flags: tensor("bool", [3], [1, 0, 1]) };
  const weight = tensor("float32", [], [2]);

  it("hands inputs through, finds sizes in the data, computes only what is asked for, and fills `into`", async () => {
    const runner = await device.compile(program, { constants: { weight } });
    const all = await runner.run(feeds);
    expect(all.same).toEqual(feeds.x);
    expect(all.also).toEqual(feeds.x);
    expect(all.kept).toEqual(tensor("float32", [2], [1, 3]));
    const y = tensor("float32", [3]);
    const some = await runner.run(feeds, { outputs: ["y"], into: { y } });
    expect(Object.keys(some)).toEqual(["y"]);
    expect(some.y).toBe(y);
    expect(y.data).toEqual(Float32Array.of(2, 4, 6));
  });

  it("copies what it takes", async () => {
    const own = { x: tensor("float32", [2], [1, 2]), flags: tensor("bool", [2], [1, 1]) };
    const changing = tensor("float32", [], [2]);
    const runner = await device.compile(program, { state: ["weight"], initial: { weight: changing } });
    changing.data[0] = 9;
    const running = runner.run(own);
    const { y } = await running;
    own.x.data[0] = 5;
    expect(y!.data).toEqual(Float32Array.of(2, 4));
    const state = await runner.readState();
    state.weight!.data[0] = 7;
    expect((await runner.readState()).weight!.data[0]).toBe(2);
    await runner.writeState({ weight: tensor("float32", [], [3]) });
    expect((await runner.run(own)).y!.data).toEqual(Float32Array.of(15, 6));
  });

  it("whole numbers of 64 bits come back, and those that tfjs cannot hold are refused", async () => {
    const whole = trace(({ i, b }) => ({ sum: ops.add(i, 1), b: ops.identity(b), c: ops.not(b) }), {
      i: spec("int64", [2]),
      b: spec("bool", [2]),
    });
    const runner = await device.compile(whole);
    const b = tensor("bool", [2], [1, 0]);
    const results = await runner.run({ i: tensor("int64", [2], [-5, 2 ** 31 - 2]), b });
    expect(results).toEqual({ sum: tensor("int64", [2], [-4, 2 ** 31 - 1]), b, c: tensor("bool", [2], [0, 1]) });
    await expect(runner.run({ i: tensor("int64", [2], [0, 2 ** 31]), b })).rejects.toThrow(
      'core-gpu.Runner.run: feed "i" must fit int32; got 2147483648 at element 1. tfjs has no int64; its whole numbers are int32.',
    );
  });

  it.each<[string, () => Promise<unknown>, string]>([
    [
      "a missing feed",
      async () => (await device.compile(program, { constants: { weight } })).run({ x: feeds.x }),
      'core-gpu.Runner.run: every input must be fed ("x", "flags"); got no feed for "flags"',
    ],
    [
      "one symbol with two sizes",
      async () =>
        (await device.compile(program, { constants: { weight } })).run({ ...feeds, flags: tensor("bool", [2]) }),
      'dimension n must have one size in all feeds; got 3 in feed "x" and 2 in feed "flags"',
    ],
    [
      "state without a value",
      async () => (await device.compile(program, { state: ["weight"] })).run(feeds),
      'all state must have a value; got none for "weight"',
    ],
    [
      "a constant that is no input",
      () => device.compile(program, { constants: { other: weight } }),
      'core-gpu.TfjsDevice.compile: constants must be inputs of the program; got "other"',
    ],
    [
      "a constant of another shape",
      () => device.compile(program, { constants: { weight: feeds.x } }),
      'constant "weight" must have shape []; got [3]',
    ],
    [
      "options of ONNX Runtime",
      () => device.compile(program, { opset: 17 } as object),
      'unknown option "opset". Options: state, initial, constants.',
    ],
    [
      "float64",
      () => device.compile(trace(({ x }) => ({ y: ops.relu(x) }), { x: spec("float64", [2]) })),
      "core-gpu.TfjsDevice.compile: tfjs has no float64; got",
    ],
    [
      "a released runner",
      async () => {
        const runner = await device.compile(program, { constants: { weight } });
        await runner.release();
        await runner.release();
        return runner.run(feeds);
      },
      "the runner must be open; got a released one",
    ],
    [
      "a closed device",
      async () => {
        const other = tfjsDevice(tf);
        await other.close();
        return other.compile(program);
      },
      "core-gpu.TfjsDevice.compile: the device must be open; got a closed one",
    ],
    [
      "another back end than the device was made with",
      async () => {
        const runner = await device.compile(program, { constants: { weight } });
        await tf.setBackend("wasm");
        try {
          return await runner.run(feeds);
        } finally {
          await tf.setBackend("cpu");
        }
      },
      'tfjs\'s back end must still be "cpu"; got "wasm". tf.setBackend("cpu")',
    ],
  ])("refuses %s", async (_, run, message) => {
    const error: unknown = await run().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toContain(message);
  });
});

describe("tfjsDevice", () => {
  it("is named after the back end", async () => {
    expect(device.kind).toBe("tfjs:cpu");
    await tf.setBackend("wasm");
    expect(tfjsDevice(tf).kind).toBe("tfjs:wasm");
  });

  it("refuses what is not tfjs", () => {
    expect(() => tfjsDevice({} as typeof tf)).toThrow("core-gpu.tfjsDevice: tf must be a tfjs module; got object.");
    expect(() => tfjsDevice(null as unknown as typeof tf)).toThrow("got null");
    const asleep = { ...tf, getBackend: () => undefined } as unknown as typeof tf;
    expect(() => tfjsDevice(asleep)).toThrow("tfjs must have a back end; got none that is ready.");
  });

  it("says why the native binding does not work on a new Node", () => {
    const check = (backend: string, hasIsNullOrUndefined: boolean) => () =>
      checkNodeBinding("core-gpu.tfjsDevice", backend, { version: "24.1.0", hasIsNullOrUndefined });
    expect(check("tensorflow", false)).toThrow(
      "core-gpu.tfjsDevice: tfjs-node and tfjs-node-gpu need a Node with util.isNullOrUndefined (18 to 22); got Node 24.1.0, which no longer has it. Use Node 22",
    );
    expect(check("tensorflow", true)).not.toThrow();
    expect(check("wasm", false)).not.toThrow();
    const native = { ...tf, getBackend: () => "tensorflow" } as typeof tf;
    const old = Number(process.versions.node.split(".")[0]) < 23;
    if (old) expect(tfjsDevice(native).kind).toBe("tfjs:tensorflow");
    else expect(() => tfjsDevice(native)).toThrow("isNullOrUndefined");
  });
});

it("sizes of formulas", () => {
  const sizes = new Map([
    ["n", 3],
    ["h", 7],
  ]);
  const size = (dimension: string | number) => sizeOfDimension(dimension, sizes);
  expect(size(5)).toBe(5);
  expect(size("n")).toBe(3);
  expect(size("2*h*n")).toBe(42);
  expect(size("(h+n-2)")).toBe(8);
  expect(size("(floor((h-1)/2)+1)")).toBe(4);
  expect(size("ceil(h/2)*n")).toBe(12);
  expect(size("kept")).toBeNull();
  expect(size("2*kept")).toBeNull();
});
