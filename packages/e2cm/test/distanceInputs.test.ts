import {
  addTaps,
  type Device,
  generator,
  openDevice,
  optimisers,
  proposeCuts,
  spec,
  type Tensor,
  tensor,
  trace,
  training,
} from "@exitkit/core-gpu";
import { exitNetwork, heads, importBackbone, recordExits, toExitModel, trainExits } from "@exitkit/early-exit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { distanceInputs, fit } from "../src/index.ts";
import { batches, golden, tinyModel } from "./fixture.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const model = tinyModel();
// Block one, [4, 8, 8].
const [, tap] = proposeCuts(model);
const rules = { classes: 4, exits: [tap!], calibration: batches("test", 60) };

it("are the distances to the class means by the training set's mean distances, as NumPy computes them", async () => {
  const { exits } = await fit(model, () => batches("train", 60), { ...rules, metric: "euclidean", features: "full" });
  const { size, of } = distanceInputs(exits[0]!);
  const program = trace(({ x }) => ({ y: of(x) }), { x: spec("float32", ["n", 4, 8, 8]) });
  const session = await device.load(addTaps(model, [tap!]));
  const x = (await session.run({ x: batches("test", 60)[0]!.x }))[tap!]!;
  const runner = await device.compile(program);
  const { y } = await runner.run({ x });
  await Promise.all([session.release(), runner.release()]);
  expect([size, y!.shape]).toEqual([4, [60, 4]]);
  const { distances, meanDistances } = golden.exits[0]!;
  for (const [at, distance] of distances.flat().entries()) {
    expect(Number(y!.data[at])).toBeCloseTo(distance / meanDistances[at % 4]!, 4);
  }
});

it("are learned from: a head without them ends with a higher loss", async () => {
  const { exits } = await fit(model, batches("train", 60), { ...rules, metric: "euclidean" });
  const [all] = batches("train", 240) as [{ x: Tensor; y: Int32Array }];
  const y = tensor("int64", [240], BigInt64Array.from(all.y, BigInt));
  const train = async (head: heads.Head) => {
    const network = exitNetwork(importBackbone(model, { taps: [tap!] }), [{ tap: tap!, head }]);
    const { params, history } = await trainExits(device, network, training.tensorDataset({ x: all.x, y }), {
      trains: "exits",
      batchSize: 40,
      epochs: 10,
      generator: generator(1),
      optimiser: optimisers.adam(),
      learningRate: 0.02,
    });
    const record = await recordExits(device, toExitModel(network, params), [all]);
    expect(record.predictions[0]!.length).toBe(240);
    return history.at(-1)!.losses[0]!;
  };
  const [plain, helped] = [
    await train(heads.linear()),
    await train(heads.linear({ extra: distanceInputs(exits[0]!) })),
  ];
  expect(helped).toBeLessThan(plain);
});

it("need a Euclidean exit", async () => {
  const { exits } = await fit(model, batches("train", 60), rules);
  expect(() => distanceInputs(exits[0]!)).toThrow(
    'e2cm.distanceInputs: the exit must be a Euclidean one; got sharedCovariance. Fit with metric: "euclidean".',
  );
});
