import { type Device, generator, layers, openDevice, ops, optimisers, spec, tensor, training } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  exitNetwork,
  type heads,
  openStaged,
  programBackbone,
  recordExits,
  toExitModel,
  trainExits,
} from "../src/index.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const [N, UNITS, D, CLASSES] = [24, 3, 4, 5];

/** A linear layer over every unit's features, [n, u, d] → [n · u, k]. */
const perUnit: heads.Head = {
  name: "per unit",
  init: (random, shape, classes) => layers.initLinear(random, { in: shape.at(-1)!, out: classes }),
  apply: (params, features) => ({
    logits: layers.linear(params as never, ops.reshape(features, [-1, D])),
    updated: {},
  }),
};

function network(units: number) {
  const random = generator(1);
  return exitNetwork(
    programBackbone({
      params: {
        first: layers.initLinear(random, { in: D, out: D }),
        last: layers.initLinear(random, { in: D, out: CLASSES }),
      },
      input: spec("float32", units === 1 ? ["n", D] : ["n", units, D]),
      units,
      apply: (params, x) => {
        const hidden = ops.relu(layers.linear(params.first, x));
        return { taps: { hidden }, logits: layers.linear(params.last, ops.reshape(hidden, [-1, D])) };
      },
    }),
    [{ tap: "hidden", head: perUnit }],
  );
}

const random = generator(2);
const features = Float32Array.from({ length: N * UNITS * D }, () => random.normal());
const labels = BigInt64Array.from({ length: N * UNITS }, () => BigInt(random.integer(CLASSES)));

describe("samples that take several decisions", () => {
  it.each(["exits", "all"] as const)("train (%s) as their units do one by one", async (trains) => {
    const options = { trains, epochs: 2, shuffle: false, optimiser: optimisers.adam(), learningRate: 0.01 } as const;
    const together = await trainExits(
      device,
      network(UNITS),
      training.tensorDataset({ x: tensor("float32", [N, UNITS, D], features), y: tensor("int64", [N, UNITS], labels) }),
      { ...options, batchSize: 8, generator: generator(3) },
    );
    const alone = await trainExits(
      device,
      network(1),
      training.tensorDataset({
        x: tensor("float32", [N * UNITS, D], features),
        y: tensor("int64", [N * UNITS], labels),
      }),
      { ...options, batchSize: 8 * UNITS, generator: generator(3) },
    );
    expect(together.steps).toBe(alone.steps);
    const flat = layers.flattenParameters(alone.params);
    for (const [path, { data }] of Object.entries(layers.flattenParameters(together.params))) {
      (data as Float32Array).forEach((value, at) => {
        expect(value, path).toBeCloseTo(flat[path]!.data[at] as number, 5);
      });
    }
    together.history.forEach(({ losses, accuracies }, epoch) => {
      expect(accuracies).toEqual(alone.history[epoch]!.accuracies);
      losses.forEach((loss, j) => {
        expect(loss).toBeCloseTo(alone.history[epoch]!.losses[j]!, 5);
      });
    });
  });

  it("have exits side by side at one tap, each trained as if it were alone", async () => {
    const { backbone } = network(UNITS);
    const data = training.tensorDataset({
      x: tensor("float32", [N, UNITS, D], features),
      y: tensor("int64", [N, UNITS], labels),
    });
    const two = exitNetwork(backbone, [
      { name: "one", tap: "hidden", head: perUnit },
      { name: "two", tap: "hidden", head: perUnit },
    ]);
    const params = two.init(generator(7));
    const options = {
      trains: "exits",
      epochs: 2,
      batchSize: 8,
      optimiser: optimisers.adam(),
      learningRate: 0.01,
    } as const;
    const together = await trainExits(device, two, data, { ...options, params, generator: generator(3) });
    for (const j of [0, 1]) {
      const one = exitNetwork(backbone, [{ tap: "hidden", head: perUnit }]);
      const own = { backbone: params.backbone, exits: [params.exits[j]!] };
      const alone = await trainExits(device, one, data, { ...options, params: own, generator: generator(3) });
      expect(together.params.exits[j]).toEqual(alone.params.exits[0]);
    }
    const again = { name: "again", tap: "hidden", head: perUnit };
    expect(() => exitNetwork(backbone, [again, again])).toThrow(/names must differ/);
  });

  it("are recorded one by one, but not run in stages, and need labels for each unit", async () => {
    const own = network(UNITS);
    const exitModel = toExitModel(own, own.init(generator(1)));
    await expect(openStaged(device, exitModel, { sampleShape: [UNITS, D] })).rejects.toThrow(
      /must be float32 of shape \[n\]/,
    );
    const x = tensor("float32", [N, UNITS, D], features);
    const together = await recordExits(device, exitModel, [{ x, y: labels }], { unit: "token" });
    const single = network(1);
    const rows = tensor("float32", [N * UNITS, D], features);
    const alone = await recordExits(device, toExitModel(single, single.init(generator(1))), [{ x: rows, y: labels }]);
    const { unit, groups, ...same } = together;
    expect(same).toEqual(alone);
    expect([unit, groups]).toEqual([
      "token",
      Int32Array.from({ length: N * UNITS }, (_, at) => Math.floor(at / UNITS)),
    ]);
    const data = training.tensorDataset({
      x: tensor("float32", [N, UNITS, D], features),
      y: tensor("int64", [N], labels.slice(0, N)),
    });
    const options = { trains: "exits", batchSize: 8, epochs: 1, generator: generator(3), learningRate: 0.1 } as const;
    await expect(trainExits(device, own, data, { ...options, optimiser: optimisers.sgd() })).rejects.toThrow(/"y"|y /);
    expect(() => programBackbone({ units: 0 } as never)).toThrow(/"units"/);
  });
});
