import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Device, Session } from "../src/device/device.ts";
import { diagnoseDevices } from "../src/device/diagnose.ts";
import { openDevice } from "../src/device/open.ts";
import { InputError } from "../src/errors.ts";
import { readModel } from "../src/onnx/model.ts";
import type { Tensor } from "../src/tensor.ts";
import { tensor } from "../src/tensor.ts";
import { fixture, modelBytes } from "./support/device-fixture.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 2 });
});
afterAll(() => device.close());

const { x, hidden, logits } = fixture.convolution;
const images = tensor("float32", [2, 3, 6, 5], x);
const expectClose = (value: Tensor | undefined, expected: readonly number[]) => {
  expect(value?.data).toHaveLength(expected.length);
  const worst = Math.max(...expected.map((number, i) => Math.abs(number - Number(value!.data[i]))));
  expect(worst).toBeLessThan(1e-5);
};

describe("running", () => {
  test("gives PyTorch's numbers, from bytes and from a model", async () => {
    for (const source of [modelBytes("convolution"), readModel(modelBytes("convolution"))]) {
      const session = await device.load(source);
      const results = await session.run({ x: images });
      expect(Object.keys(results)).toEqual(["logits", "hidden"]);
      expect(results.logits).toMatchObject({ dtype: "float32", shape: [2, 5] });
      expect(results.hidden).toMatchObject({ dtype: "float32", shape: [2, 4, 6, 5] });
      expectClose(results.logits, logits);
      expectClose(results.hidden, hidden);
      await session.release();
    }
  });

  test.each([
    {},
    { spin: true },
    { optimization: "none" },
    { optimization: "basic" },
    { optimization: "extended" },
  ] as const)("the same with the options %j", async (options) => {
    const session = await device.load(modelBytes("convolution"), options);
    expectClose((await session.run({ x: images })).logits, logits);
    await session.release();
  });

  test("describes its inputs and outputs", async () => {
    const session = await device.load(modelBytes("convolution"));
    expect(session.inputs).toEqual([{ name: "x", dtype: "float32", shape: ["n", 3, 6, 5] }]);
    expect(session.outputs).toEqual([
      { name: "logits", dtype: "float32", shape: ["n", 5] },
      { name: "hidden", dtype: "float32", shape: ["n", 4, 6, 5] },
    ]);
  });

  test("takes views that start anywhere in a buffer, and no rows at all", async () => {
    const session = await device.load(modelBytes("convolution"));
    for (const offset of [1, 3, 7]) {
      const larger = new Float32Array(x.length + 10).fill(Number.NaN);
      larger.set(x, offset);
      const view = tensor("float32", [2, 3, 6, 5], larger.subarray(offset, offset + x.length));
      expectClose((await session.run({ x: view })).logits, logits);
    }
    const none = await session.run({ x: tensor("float32", [0, 3, 6, 5]) });
    expect(none.logits).toMatchObject({ shape: [0, 5], data: new Float32Array(0) });
  });

  test("every dtype goes in and comes out exactly, from views too", async () => {
    const session = await device.load(modelBytes("doubled"));
    const feeds = {
      float32_in: tensor("float32", [2], new Float32Array([9, 0.1, -3]).subarray(1)),
      float64_in: tensor("float64", [2], new Float64Array([9, 0.1, 1e300]).subarray(1)),
      int32_in: tensor("int32", [2], new Int32Array([9, 2 ** 30 - 1, -5]).subarray(1)),
      int64_in: tensor("int64", [2], new BigInt64Array([9n, 2n ** 61n + 1n, -7n]).subarray(1)),
      uint8_in: tensor("uint8", [2], new Uint8Array([9, 100, 127]).subarray(1)),
      bool_in: tensor("bool", [2], new Uint8Array([9, 0, 1]).subarray(1)),
    };
    expect(await session.run(feeds)).toEqual({
      float32_out: tensor("float32", [2], [Math.fround(0.1) * 2, -6]),
      float64_out: tensor("float64", [2], [0.2, 2e300]),
      int32_out: tensor("int32", [2], [2 ** 31 - 2, -10]),
      int64_out: tensor("int64", [2], [2n ** 62n + 2n, -14n]),
      uint8_out: tensor("uint8", [2], [200, 254]),
      bool_out: tensor("bool", [2], [1, 0]),
    });
  });

  test("computes only the outputs asked for", async () => {
    const session = await device.load(modelBytes("convolution"));
    expect(Object.keys(await session.run({ x: images }, { outputs: ["hidden"] }))).toEqual(["hidden"]);
    // The other output has a dtype that no host tensor holds.
    const half = await device.load(modelBytes("halfOutput"));
    const y = (await half.run({ x: tensor("float32", [1], [3]) }, { outputs: ["y"] })).y;
    expect(y).toEqual(tensor("float32", [1], [-3]));
  });

  test("tells a scalar from a tensor of unknown rank", async () => {
    const any = await device.load(modelBytes("anyRank"));
    expect(any.inputs[0]).toMatchObject({ shape: [], unknownRank: true });
    expect((await any.run({ x: tensor("float32", [1, 2], [1, 2]) })).y).toEqual(tensor("float32", [1, 2], [-1, -2]));
    const into = tensor("float32", [2]);
    await any.run({ x: tensor("float32", [2], [1, 2]) }, { into: { y: into } });
    expect([...into.data]).toEqual([-1, -2]);
    const scalar = await device.load(modelBytes("scalar"));
    expect(scalar.inputs[0]).toEqual({ name: "x", dtype: "float32", shape: [] });
    expect((await scalar.run({ x: tensor("float32", [], [4]) })).y).toEqual(tensor("float32", [], [-4]));
    await expect(scalar.run({ x: tensor("float32", [1], [4]) })).rejects.toThrow(
      'feed "x" must have shape []; got [1]',
    );
  });

  test("runs that are started together do not disturb each other", async () => {
    const session = await device.load(modelBytes("unusual"));
    const run = (value: number) =>
      session.run(
        { x: tensor("float32", [2], [value, -value]), flag: tensor("bool", [], [1]) },
        { outputs: ["chosen"] },
      );
    const results = await Promise.all([1, 2, 3, 4].map(run));
    expect(results.map(({ chosen }) => [...chosen!.data])).toEqual([1, 2, 3, 4].map((v) => [2 * v, -2 * v]));
  });
});

describe("preallocated outputs", () => {
  test("are written in place, views too, and returned", async () => {
    const session = await device.load(modelBytes("convolution"));
    const buffer = new Float32Array(20).fill(7);
    const into = tensor("float32", [2, 5], buffer.subarray(4, 14));
    const results = await session.run({ x: images }, { into: { logits: into } });
    expect(results.logits).toBe(into);
    expectClose(into, logits);
    expect([...buffer.subarray(0, 4), ...buffer.subarray(14)]).toEqual(new Array(10).fill(7));
    expectClose(results.hidden, hidden);
    const again = await session.run({ x: tensor("float32", [2, 3, 6, 5]) }, { into: { logits: into } });
    expect(again.logits).toBe(into);
    expect(Math.abs(into.data[0]! - logits[0]!)).toBeGreaterThan(1e-3);
  });

  test("also where no kernel computes the output: constants, inputs, second names, branches", async () => {
    const session = await device.load(modelBytes("unusual"));
    const names = session.outputs.map(({ name }) => name);
    for (const flag of [1, 0]) {
      const into = Object.fromEntries(names.map((name) => [name, tensor("float32", [2])]));
      await session.run({ x: tensor("float32", [2], [5, 7]), flag: tensor("bool", [], [flag]) }, { into });
      expect(Object.fromEntries(names.map((name) => [name, [...into[name]!.data]]))).toEqual({
        constant: [2, 2],
        same: [5, 7],
        negative: [-5, -7],
        negativeAgain: [-5, -7],
        chosen: flag === 1 ? [10, 14] : [15, 21],
      });
    }
  });

  test.each<[string, Record<string, Tensor>, string]>([
    [
      "an unknown name",
      { lgits: tensor("float32", [2, 5]) },
      'into must name computed outputs of the model ("logits", "hidden"); got "lgits"',
    ],
    ["another dtype", { logits: tensor("float64", [2, 5]) }, 'into "logits" must have dtype float32; got float64'],
    [
      "another fixed dimension",
      { logits: tensor("float32", [2, 4]) },
      'into "logits" must have shape [n, 5]; got [2, 4]',
    ],
    ["too few rows", { logits: tensor("float32", [1, 5]) }, 'ONNX Runtime must be able to run the model; got "'],
    [
      "too many rows",
      { logits: tensor("float32", [3, 5]) },
      "Check that the feeds' dimensions fit together and that `into` has the shapes",
    ],
  ])("refuses %s", async (_, into, message) => {
    const session = await device.load(modelBytes("convolution"));
    await expect(session.run({ x: images }, { into })).rejects.toThrow(InputError);
    await expect(session.run({ x: images }, { into })).rejects.toThrow(message);
  });
});

describe("feeds are refused", () => {
  test.each<[string, Record<string, Tensor>, string]>([
    [
      "when missing",
      {},
      'core-gpu.Session.run: every input must be fed ("x"); got no feed for "x". Add it to the feeds.',
    ],
    ["when unknown", { x: images, y: images }, 'feeds must name inputs of the model ("x"); got "y"'],
    ["of another dtype", { x: tensor("float64", [2, 3, 6, 5]) }, 'feed "x" must have dtype float32; got float64'],
    ["of another rank", { x: tensor("float32", [90]) }, 'feed "x" must have shape [n, 3, 6, 5]; got [90]'],
    [
      "of another fixed dimension",
      { x: tensor("float32", [2, 3, 5, 6]) },
      'feed "x" must have shape [n, 3, 6, 5]; got [2, 3, 5, 6]',
    ],
    [
      "with too few elements",
      { x: { ...images, shape: [3, 3, 6, 5] } },
      'feed "x" of shape [3, 3, 6, 5] must have 270 elements; got 180',
    ],
    [
      "that are no tensors",
      { x: new Float32Array(180) as never },
      'feed "x" must be a tensor; got object. Make one with tensor(',
    ],
    ["that are undefined", { x: undefined as never }, 'feed "x" must be a tensor; got undefined'],
  ])("%s", async (_, feeds, message) => {
    const session = await device.load(modelBytes("convolution"));
    await expect(session.run(feeds)).rejects.toThrow(InputError);
    await expect(session.run(feeds)).rejects.toThrow(message);
  });

  test("when the runtime cannot fit them together; the session stays usable", async () => {
    const session = await device.load(modelBytes("sums"));
    const [two, three] = [tensor("float32", [2], [1, 2]), tensor("float32", [3])];
    await expect(session.run({ a: two, b: three })).rejects.toThrow(
      /Session\.run: ONNX Runtime must be able to run .* 2 by 3/,
    );
    expect((await session.run({ a: two, b: two })).y).toEqual(tensor("float32", [2], [2, 4]));
  });

  test("of a dtype that host tensors do not hold", async () => {
    const session = await device.load(modelBytes("half"));
    await expect(session.run({ h: tensor("float32", [1]) })).rejects.toThrow(
      'feed "h" must have dtype float16; got float32. Host tensors cannot hold it: put a Cast into the model.',
    );
  });
});

test("outputs that cannot be had are refused before the run", async () => {
  const session = await device.load(modelBytes("halfOutput"));
  const feeds = { x: tensor("float32", [1]) };
  await expect(session.run(feeds)).rejects.toThrow(
    'output "g" must have a dtype that a host tensor holds; got float16',
  );
  await expect(session.run(feeds, { outputs: [] })).rejects.toThrow(
    'outputs must name at least one output; got none. The model has "g", "y".',
  );
  await expect(session.run(feeds, { outputs: ["z"] })).rejects.toThrow(
    'outputs must name outputs of the model ("g", "y"); got "z"',
  );
});

describe("loading refuses", () => {
  test("bytes that are no model, and weights in other files", async () => {
    await expect(device.load(new Uint8Array([1, 2, 3]))).rejects.toThrow(InputError);
    await expect(device.load(modelBytes("external"))).rejects.toThrow(/weights\.bin/);
  });

  test("operators the runtime does not have, with its message", async () => {
    await expect(device.load(modelBytes("unknownOperator"))).rejects.toThrow(
      /core-gpu\.Device\.load: ONNX Runtime must accept the model on cpu; got ".*NoSuchThing.*". Check the model's operators/,
    );
  });

  test("unknown options", async () => {
    await expect(device.load(modelBytes("scalar"), { spn: true } as never)).rejects.toThrow(
      'core-gpu.Device.load: options must be valid; got unknown option "spn". Options: spin, optimization.',
    );
  });
});

describe("releasing", () => {
  test("a session ends it, twice is allowed", async () => {
    const session = await device.load(modelBytes("scalar"));
    await session.release();
    await session.release();
    await expect(session.run({ x: tensor("float32", []) })).rejects.toThrow(
      "core-gpu.Session.run: the session must be open; got a released one. Load the model again.",
    );
  });

  test("a session during a run gives the result or says that it is released", async () => {
    const session = await device.load(modelBytes("scalar"));
    const run = session.run({ x: tensor("float32", [], [1]) });
    await session.release();
    await expect(run).rejects.toThrow("the session must be open; got a released one");
  });

  test("the device releases its sessions, later loads are refused", async () => {
    const own = await openDevice("cpu");
    const sessions: Session[] = [await own.load(modelBytes("scalar")), await own.load(modelBytes("scalar"))];
    const late = own.load(modelBytes("scalar"));
    await own.close();
    await own.close();
    for (const session of sessions) {
      await expect(session.run({ x: tensor("float32", []) })).rejects.toThrow("got a released one");
    }
    await expect(late).rejects.toThrow("core-gpu.Device.load: the device must be open; got a closed one");
    await expect(own.load(modelBytes("scalar"))).rejects.toThrow("the device must be open; got a closed one");
  });
});

describe("opening", () => {
  test("refuses unknown kinds and options", async () => {
    await expect(openDevice("gpu" as never)).rejects.toThrow(
      'core-gpu.openDevice: kind must be one of auto, cuda, webgpu, cpu; got "gpu"',
    );
    await expect(openDevice("cpu", { threads: 0 })).rejects.toThrow('option "threads"');
    await expect(openDevice("cpu", { thread: 1 } as never)).rejects.toThrow('unknown option "thread"');
  });

  test("auto takes the best real device and says why not the better ones; by name there is no fallback", async () => {
    const diagnoses = await diagnoseDevices();
    expect(diagnoses.map(({ kind }) => kind)).toEqual(["cuda", "webgpu", "cpu"]);
    expect(diagnoses[2]).toMatchObject({ available: true, fix: null });
    const auto = await openDevice("auto");
    const chosen = diagnoses.findIndex(({ available, software }) => available && !software);
    expect(auto.kind).toBe(diagnoses[chosen]!.kind);
    expect(auto.passedOver).toEqual(diagnoses.slice(0, chosen));
    await auto.close();
    for (const { kind, available, reason } of diagnoses) {
      if (available) continue;
      await expect(openDevice(kind)).rejects.toThrow(
        `core-gpu.openDevice: device "${kind}" must work here; got ${reason}. Fix: `,
      );
    }
  }, 60_000);
});
