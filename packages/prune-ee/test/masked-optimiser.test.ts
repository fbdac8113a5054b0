import {
  type Device,
  gradients,
  layers,
  openDevice,
  ops,
  optimisers,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, expect, it } from "vitest";
import { maskedOptimiser } from "../src/index.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** Steps of a loss Σ g·w, whose gradient is g, from a state. */
async function steps(optimiser: optimisers.Optimiser, initial: TreeRecord<Tensor>, slopes: readonly number[]) {
  const params = { weight: tensor("float32", [2], [0.01, 0.01]), "outer.weight": tensor("float32", [2], [1, 1]) };
  const state = { ...optimiser.init(params), ...initial };
  const program = trace(
    (given) => {
      const loss = ops.mul(given.slope, ops.add(ops.sum(given.params.weight), ops.sum(given.params["outer.weight"])));
      const next = optimiser.update(gradients(loss, given.params) as never, given.state as never, given.params, {
        learningRate: 0.1,
      });
      return { loss, params: next.params, state: next.state };
    },
    { params: layers.specsOf(params), state: layers.specsOf<TreeRecord<Spec>>(state), slope: spec("float32", []) },
  );
  const runner = await device.compile(program, { state: ["params", "state"], initial: { params, state } });
  try {
    for (const slope of slopes) await runner.run({ slope: tensor("float32", [], [slope]) });
    return await runner.readState();
  } finally {
    await runner.release();
  }
}

const mask = tensor("bool", [2], Uint8Array.of(0, 1));

it.each([
  ["sgd with momentum", optimisers.sgd({ momentum: 0.9, weightDecay: 0.1 })],
  ["nesterov", optimisers.sgd({ momentum: 0.9, nesterov: true })],
  ["adamW", optimisers.adamW({ weightDecay: 0.1 })],
])("keeps a pruned weight and its state at 0, and trains its neighbour as ever (%s)", async (_, optimiser) => {
  const plain = await steps(optimiser, {}, [1, -2, 0.5]);
  const masked = await steps(maskedOptimiser(optimiser, { weight: mask }), {}, [1, -2, 0.5]);
  for (const [name, { data }] of Object.entries(masked)) {
    const want = [...plain[name]!.data];
    const isPruned = name.endsWith("weight") && !name.includes("outer");
    expect([...data], name).toEqual(isPruned ? [0, want[1]] : want);
  }
});

it("stops a momentum from before pruning: 0 where masking gradients alone gives −.09", async () => {
  const sgd = optimisers.sgd({ momentum: 0.9 });
  const living = { momentum: { weight: tensor("float32", [2], [1, 1]), "outer.weight": tensor("float32", [2]) } };
  const plain = await steps(sgd, living, [0]);
  expect(plain["params.weight"]!.data[0]).toBeCloseTo(0.01 - 0.09, 6);
  const masked = await steps(maskedOptimiser(sgd, { weight: mask }), living, [0]);
  expect([masked["params.weight"]!.data[0], masked["state.momentum.weight"]!.data[0]]).toEqual([0, 0]);
});

it("refuses what is no optimiser, and a mask of another shape", async () => {
  expect(() => maskedOptimiser(undefined as never, {})).toThrow(/an optimiser is needed; got undefined/);
  const wrong = maskedOptimiser(optimisers.sgd(), { weight: tensor("bool", [3]) });
  await expect(steps(wrong, {}, [1])).rejects.toThrow(/the mask of "weight" must be \[2\]; got \[3\]/);
});
