import { InferenceSession } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Device } from "../src/device/device.ts";
import { openDevice } from "../src/device/open.ts";
import { InputError } from "../src/errors.ts";
import { gradients } from "../src/program/gradients.ts";
import * as ops from "../src/program/ops/index.ts";
import { spec } from "../src/program/spec.ts";
import { trace } from "../src/program/trace.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { initialState, stateProgram } from "./support/state-program.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 2 });
});
afterAll(() => device.close());

const scalar = (value: number) => tensor("float32", [], [value]);

/** Counts and sums: state of two dtypes, a constant, and results that are not state. */
const counter = () =>
  trace(
    ({ state, x }) => ({
      state: {
        total: ops.add(state.total, ops.mul(ops.sum(x), state.weight)),
        count: ops.add(state.count, 1),
      },
      mean: ops.mean(x),
      before: state.total,
    }),
    {
      state: { total: spec("float32", []), count: spec("int64", []), weight: spec("float32", []) },
      x: spec("float32", ["n"]),
    },
  );
const start = { state: { total: scalar(0), count: tensor("int64", [], [0n]), weight: scalar(2) } };

describe("state between runs", () => {
  test("is replaced by the outputs of its names; the rest is fed and returned", async () => {
    const runner = await device.compile(counter(), { state: ["state"], initial: start });
    const first = await runner.run({ x: tensor("float32", [2], [1, 2]) });
    expect(first).toEqual({ mean: scalar(1.5), before: scalar(0) });
    const second = await runner.run({ x: tensor("float32", [3], [3, 4, 5]) });
    expect(second).toEqual({ mean: scalar(4), before: scalar(6) });
    // Results are the caller's own: no later run writes into them.
    await runner.run({ x: tensor("float32", [1], [0]) });
    expect([first.before, second.before]).toEqual([scalar(0), scalar(6)]);
    expect(await runner.readState()).toEqual({
      "state.total": scalar(30),
      "state.count": tensor("int64", [], [3n]),
      "state.weight": scalar(2),
    });
    expect(runner.program.inputs).toHaveLength(4);
    await runner.release();
  });

  test("what is read or written is copied: nobody else's arrays change, nor the state through them", async () => {
    const initial = scalar(5);
    const runner = await device
      .compile(counter(), { state: ["state"], initial: { ...start, "state.total": initial } as never })
      .catch((error: unknown) => error);
    expect(String(runner)).toContain('"state.total" twice');
    const flat = { "state.total": initial, "state.count": tensor("int64", [], [0n]), "state.weight": scalar(1) };
    const counting = await device.compile(counter(), { state: ["state"], initial: flat });
    initial.data[0] = 100;
    const read = await counting.readState();
    expect(read["state.total"]).toEqual(scalar(5));
    read["state.total"]!.data[0] = 7;
    await counting.run({ x: tensor("float32", [1], [1]) });
    expect((await counting.readState())["state.total"]).toEqual(scalar(6));
    const written = scalar(40);
    await counting.writeState({ state: { total: written } });
    await counting.run({ x: tensor("float32", [1], [2]) });
    expect(written).toEqual(scalar(40));
    expect((await counting.readState())["state.total"]).toEqual(scalar(42));
    expect((await counting.readState())["state.count"]).toEqual(tensor("int64", [], [2n]));
    await counting.release();
  });

  test("two states that change places, and one output under two names, come out right", async () => {
    const swap = trace(({ a, b }) => ({ a: b, b: a, sum: ops.add(a, b), again: b }), {
      a: spec("float32", [2]),
      b: spec("float32", [2]),
    });
    const [a, b] = [tensor("float32", [2], [1, 2]), tensor("float32", [2], [3, 4])];
    const runner = await device.compile(swap, { state: ["a", "b"], initial: { a, b } });
    expect(await runner.run({})).toEqual({ sum: tensor("float32", [2], [4, 6]), again: b });
    expect(await runner.readState()).toEqual({ a: b, b: a });
    expect((await runner.run({}, { outputs: ["again"] })).again).toEqual(a);
    expect(await runner.readState()).toEqual({ a, b });
    await runner.release();
  });

  test("runs that are started together go one after the other", async () => {
    const runner = await device.compile(counter(), { state: ["state"], initial: start });
    const results = await Promise.all(
      [1, 2, 3, 4].map((value) => runner.run({ x: tensor("float32", [1], [value]) }, { outputs: ["before"] })),
    );
    expect(results.map(({ before }) => before?.data[0])).toEqual([0, 2, 6, 12]);
    const [state, , after] = await Promise.all([
      runner.readState(),
      runner.writeState({ "state.total": scalar(1) }),
      runner.readState(),
    ]);
    expect(state["state.total"]).toEqual(scalar(20));
    expect(after["state.total"]).toEqual(scalar(1));
    await runner.release();
  });

  test("a run that fails leaves the state as it was", async () => {
    const gather = trace(
      ({ total, at }) => ({ total: ops.add(total, ops.gather(total, at)), seen: ops.gather(total, at) }),
      { total: spec("float32", [2]), at: spec("int64", [2]) },
    );
    const initial = { total: tensor("float32", [2], [1, 2]) };
    const runner = await device.compile(gather, { state: ["total"], initial });
    await expect(runner.run({ at: tensor("int64", [2], [0n, 9n]) })).rejects.toThrow(/state is as it was before/);
    expect(await runner.readState()).toEqual(initial);
    await runner.run({ at: tensor("int64", [2], [1n, 0n]) });
    expect((await runner.readState()).total).toEqual(tensor("float32", [2], [3, 3]));
    await runner.release();
  });

  test("results can be written into given tensors", async () => {
    const runner = await device.compile(counter(), { state: ["state"], initial: start });
    const mean = scalar(0);
    const result = await runner.run({ x: tensor("float32", [2], [1, 2]) }, { outputs: ["mean"], into: { mean } });
    expect(result.mean).toBe(mean);
    expect(mean.data[0]).toBe(1.5);
    await runner.release();
  });

  test("without state it is a pure function, whatever its outputs are called", async () => {
    const runner = await device.compile(counter());
    const x = tensor("float32", [2], [1, 2]);
    const flat = { "state.total": scalar(1), "state.count": tensor("int64", [], [9n]), "state.weight": scalar(2), x };
    const results = await runner.run(flat);
    expect(results).toEqual({
      "state.total": scalar(7),
      "state.count": tensor("int64", [], [10n]),
      mean: scalar(1.5),
      before: scalar(1),
    });
    expect(await runner.run(flat)).toEqual(results);
    expect(await runner.readState()).toEqual({});
    await runner.release();
  });

  test("constants are compiled in, also for what would be state", async () => {
    const constants = { state: { weight: scalar(10) } };
    const { weight: _, ...rest } = start.state;
    const runner = await device.compile(counter(), {
      state: ["state"],
      initial: { state: rest },
      constants,
      opset: 13,
    });
    await runner.run({ x: tensor("float32", [2], [1, 2]) });
    expect(await runner.readState()).toEqual({ "state.total": scalar(30), "state.count": tensor("int64", [], [1n]) });
    await runner.release();
  });
});

describe("training", () => {
  test("a least-squares fit by gradient descent comes to the solution", async () => {
    const step = trace(
      ({ params, x, y, learningRate }) => {
        const loss = ops.sum(ops.square(ops.sub(ops.linear(x, params.weight), y)));
        const gradient = gradients(loss, params.weight);
        return {
          loss,
          params: { weight: ops.sub(params.weight, ops.mul(gradient, learningRate)), frozen: params.frozen },
        };
      },
      {
        params: { weight: spec("float32", [1, 2]), frozen: spec("float32", [3]) },
        x: spec("float32", ["n", 2]),
        y: spec("float32", ["n", 1]),
        learningRate: spec("float32", []),
      },
    );
    const frozen = tensor("float32", [3], [1, 2, 3]);
    const initial = { params: { weight: tensor("float32", [1, 2]), frozen } };
    const runner = await device.compile(step, { state: ["params"], initial });
    const feeds = {
      x: tensor("float32", [3, 2], [1, 0, 0, 1, 1, 1]),
      y: tensor("float32", [3, 1], [2, -1, 1]),
      learningRate: scalar(0.2),
    };
    const losses: number[] = [];
    for (let at = 0; at < 60; at++) losses.push((await runner.run(feeds)).loss!.data[0] as number);
    expect(losses[0]).toBe(6);
    expect(losses.at(-1)).toBeLessThan(1e-10);
    const state = await runner.readState();
    expect(state["params.weight"]!.data[0]).toBeCloseTo(2, 5);
    expect(state["params.weight"]!.data[1]).toBeCloseTo(-1, 5);
    expect(state["params.frozen"]).toEqual(frozen);
    await runner.release();
  });
});

describe("compiling again", () => {
  test("a program traced from the same function is not written as a model again", async () => {
    const program = () =>
      trace(({ x, shift }) => ({ y: ops.add(ops.mul(x, tensor("float32", [2], [3, 4])), shift) }), {
        x: spec("float32", ["n", 2]),
        shift: spec("float32", [2]),
      });
    const emit = vi.spyOn(program().nodes[0]!.operator, "emit");
    const x = tensor("float32", [1, 2], [1, 1]);
    const compiled = async (shift: number, opset: number) => {
      const constants = { shift: tensor("float32", [2], [shift, shift]) };
      const runner = await device.compile(program(), { constants, opset });
      const { y } = await runner.run({ x });
      await runner.release();
      return y!.data[0];
    };
    expect(await compiled(1, 17)).toBe(4);
    expect(await compiled(1, 17)).toBe(4);
    expect(emit).toHaveBeenCalledTimes(1);
    expect(await compiled(2, 17)).toBe(5);
    expect(await compiled(1, 18)).toBe(4);
    expect(emit).toHaveBeenCalledTimes(3);
    emit.mockRestore();
  });

  test("runners of equal programs share a session, loaded once, but not their state", async () => {
    const loads = vi.spyOn(InferenceSession, "create");
    const first = await device.compile(counter(), { state: ["state"], initial: start });
    const second = await device.compile(counter(), { state: ["state"], initial: start });
    expect(loads).toHaveBeenCalledTimes(1);
    await first.run({ x: tensor("float32", [1], [1]) });
    expect((await second.readState())["state.total"]).toEqual(scalar(0));
    await first.release();
    await second.run({ x: tensor("float32", [1], [3]) });
    expect((await second.readState())["state.total"]).toEqual(scalar(6));
    await second.release();
    const third = await device.compile(counter(), { state: ["state"], initial: start });
    await third.run({ x: tensor("float32", [1], [1]) });
    // The session went with the last that used it.
    expect(loads).toHaveBeenCalledTimes(2);
    loads.mockRestore();
    await third.release();
  });

  test("programs that differ in one attribute, constant or name do not get each other's models", async () => {
    const program = (factor: number, minimum: number | undefined, name: string) =>
      trace(({ x }) => ({ [name]: ops.clip(ops.mul(x, factor), minimum === undefined ? {} : { minimum }) }), {
        x: spec("float32", [1]),
      });
    const run = async (factor: number, minimum: number | undefined, name: string) => {
      const runner = await device.compile(program(factor, minimum, name));
      return runner.run({ x: tensor("float32", [1], [-1]) });
    };
    expect(await run(2, -5, "y")).toEqual({ y: tensor("float32", [1], [-2]) });
    expect(await run(3, -5, "y")).toEqual({ y: tensor("float32", [1], [-3]) });
    expect(await run(3, -1, "y")).toEqual({ y: tensor("float32", [1], [-1]) });
    expect(await run(3, undefined, "y")).toEqual({ y: tensor("float32", [1], [-3]) });
    expect(await run(0, undefined, "y")).toEqual({ y: tensor("float32", [1], [-0]) });
    expect(await run(-0, undefined, "z")).toEqual({ z: tensor("float32", [1], [0]) });
  });
});

describe("refuses", () => {
  const x = tensor("float32", [1], [1]);
  const refused = async (work: Promise<unknown>, text: string) => {
    const error = await work.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).message).toContain(text);
  };

  test.each([
    [{ state: ["weights"] }, 'state must name inputs of the program ("state", "x"); got "weights"'],
    [{ state: ["x"] }, 'state "x" must have a shape without symbols; got float32 [n]'],
    [{ state: ["state"], initial: { state: { sum: x } } }, 'state must name state inputs of the model ("state.total"'],
    [{ state: ["state"], initial: { x } }, 'got "x"'],
    [{ state: ["state"], initial: { state: { total: x } } }, 'state "state.total" must have shape []; got [1]'],
    [{ state: ["state"], initial: { state: { count: scalar(1) } } }, "must have dtype int64; got float32"],
    [{ stat: ["state"] }, 'unknown option "stat"'],
    [{ opset: 6 }, 'option "opset"'],
    [{ initial: 3 }, 'option "initial" must be a record of tensors'],
    [{ load: { spinn: true } }, "unknown option"],
    [{ constants: { y: x } }, 'constants must be inputs of the program; got "y"'],
  ])("compile with %j", async (options, text) => {
    await refused(device.compile(counter(), options as never), text);
  });

  test("state whose next value has another shape", async () => {
    const growing = trace(({ a }) => ({ a: ops.concat([a, a], 0) }), { a: spec("float32", [2]) });
    await refused(
      device.compile(growing, { state: ["a"] }),
      'output "a" must be like the state of its name, float32 [2]; got float32 [4]',
    );
  });

  test("runs that do not fit", async () => {
    const runner = await device.compile(counter(), { state: ["state"] });
    await refused(runner.run({}), 'no feed for "x"');
    await refused(runner.run({ x, "state.total": x }), 'got "state.total"');
    await refused(runner.run({ x: scalar(1) }), 'feed "x" must have shape [n]; got []');
    await refused(
      runner.run({ x }, { outputs: ["state.total"] }),
      'outputs must name outputs of the model ("mean", "before")',
    );
    await refused(runner.run({ x }), 'none for "state.total", "state.count", "state.weight". Pass `initial`');
    await refused(runner.readState(), "all state must have a value");
    await runner.writeState(start);
    await refused(runner.writeState({ "state.total": x }), 'state "state.total" must have shape []');
    await runner.run({ x });
    await runner.release();
    await runner.release();
    await refused(runner.run({ x }), "the runner must be open; got a released one");
    await refused(runner.readState(), "the runner must be open");
    await refused(runner.writeState(start), "the runner must be open");
  });

  test("one symbol with two sizes", async () => {
    const dot = trace(({ a, b }) => ({ y: ops.add(ops.sum(a), ops.sum(b)) }), {
      a: spec("float32", ["n"]),
      b: spec("float32", ["n", 2]),
    });
    const runner = await device.compile(dot);
    await refused(
      runner.run({ a: tensor("float32", [2]), b: tensor("float32", [3, 2]) }),
      'dimension n must have one size in all feeds; got 2 in feed "a" and 3 in feed "b"',
    );
    await runner.release();
  });

  test("a closed device, which closes its runners", async () => {
    const other = await openDevice("cpu", { threads: 1 });
    const runner = await other.compile(counter(), { state: ["state"], initial: start });
    await other.close();
    await refused(runner.run({ x }), "the runner must be open");
    await refused(other.compile(counter()), "core-gpu.Device.compile: the device must be open");
  });
});

describe("several steps in one run", () => {
  const stacked = (shape: readonly number[], ...rows: readonly (readonly number[])[]) =>
    tensor("float32", [rows.length, ...shape], rows.flat());

  test("give what single runs give, bit for bit, in any grouping", async () => {
    const options = { state: ["params", "optimiser"], initial: initialState() };
    const single = await device.compile(stateProgram(), options);
    const looped = await device.compile(stateProgram(), { ...options, stepsPerRun: 3 });
    const x = [1, 2, 3, 4, 5].map((at) => [1, at, -1, 0.5, 2, at / 2]);
    const y = [1, 2, 3, 4, 5].map((at) => [at, 1, -1, 0.25]);
    const rates = [[0.1], [0.05], [0.2], [0.1], [0.01]];
    const expected: Tensor[] = [];
    for (const [at, row] of x.entries()) {
      const feeds = {
        x: tensor("float32", [2, 3], row),
        y: tensor("float32", [2, 2], y[at]!),
        learningRate: tensor("float32", [], rates[at]!),
      };
      expected.push((await single.run(feeds)).losses!);
    }
    const losses: number[] = [];
    for (const [from, to] of [
      [0, 3],
      [3, 5],
    ] as const) {
      const results = await looped.run({
        x: stacked([2, 3], ...x.slice(from, to)),
        y: stacked([2, 2], ...y.slice(from, to)),
        learningRate: stacked([], ...rates.slice(from, to)),
      });
      expect(results.loss!.shape).toEqual([to - from]);
      expect(results.losses!.shape).toEqual([to - from, 2]);
      losses.push(...(results.losses!.data as Float32Array));
    }
    expect(losses).toEqual(expected.flatMap(({ data }) => Array.from(data as Float32Array)));
    expect(await looped.readState()).toEqual(await single.readState());
    expect(Number((await looped.readState())["params.steps"]!.data[0])).toBe(5);
    await looped.release();
    await single.release();
  });

  test("of a program that is fed nothing are as many as said, at every opset", async () => {
    const fibonacci = trace(({ a, b }) => ({ a: b, b: ops.add(a, b), seen: a }), {
      a: spec("int64", []),
      b: spec("int64", []),
    });
    for (const opset of [11, 13, 17, 21]) {
      const initial = { a: tensor("int64", [], [0n]), b: tensor("int64", [], [1n]) };
      const runner = await device.compile(fibonacci, { state: ["a", "b"], initial, stepsPerRun: 10, opset });
      expect(await runner.run({})).toEqual({ seen: tensor("int64", [10], [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]) });
      expect((await runner.readState()).a).toEqual(tensor("int64", [], [55n]));
      await runner.release();
    }
  });

  test("with constants, and a dimension of the program that is itself called steps", async () => {
    const program = trace(
      ({ total, x, factor }) => ({ total: ops.add(total, ops.mul(ops.sum(x), factor)), n: ops.shapeOf(x) }),
      {
        total: spec("float32", []),
        x: spec("float32", ["steps"]),
        factor: spec("float32", []),
      },
    );
    const options = { state: ["total"], initial: { total: scalar(1) }, constants: { factor: scalar(3) } };
    const runner = await device.compile(program, { ...options, stepsPerRun: 4 });
    expect(await runner.run({ x: tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]) })).toEqual({
      n: tensor("int64", [2, 1], [3, 3]),
    });
    expect(await runner.readState()).toEqual({ total: scalar(64) });
    await runner.release();
  });

  test("refuse another number of steps", async () => {
    const runner = await device.compile(counter(), { state: ["state"], initial: start, stepsPerRun: 2 });
    const message = (rows: number) => runner.run({ x: tensor("float32", [rows, 3]) }).catch(String);
    expect(await message(0)).toContain("the feeds' first dimension must be 1 to 2 steps; got 0");
    expect(await message(3)).toContain("must be 1 to 2 steps; got 3");
    expect(await runner.run({ x: tensor("float32", [3]) }).catch(String)).toContain(
      'feed "x" must have shape [steps, n]; got [3]',
    );
    expect((await runner.run({ x: tensor("float32", [1, 2], [1, 3]) })).mean).toEqual(tensor("float32", [1], [2]));
    expect((await runner.readState())["state.weight"]).toEqual(scalar(2));
    await runner.release();
  });
});
