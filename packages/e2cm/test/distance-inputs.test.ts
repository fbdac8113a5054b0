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
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ClassMeansExit,
  type DistanceInputsOptions,
  distanceInputs,
  type FittedExit,
  fit,
  recordScores,
} from "../src/index.ts";
import { batches, golden, tinyModel } from "./fixture.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const model = tinyModel();
// Block one, [4, 8, 8].
const [, tap] = proposeCuts(model);
const rules = { classes: 4, taps: [tap!], calibration: batches("test", 60) };

/** The further inputs that an exit gives the test samples, [60, 4]. */
async function inputsOf(exit: FittedExit, options?: DistanceInputsOptions): Promise<Tensor> {
  const { size, of } = distanceInputs(exit, options);
  const session = await device.load(addTaps(model, [tap!]));
  const x = (await session.run({ x: batches("test", 60)[0]!.x }))[tap!]!;
  const runner = await device.compile(trace((given) => ({ y: of(given.x) }), { x: spec("float32", ["n", 4, 8, 8]) }));
  const { y } = await runner.run({ x });
  await Promise.all([session.release(), runner.release()]);
  expect([size, y!.shape]).toEqual([4, [60, 4]]);
  return y!;
}

function expectStandardised({ data }: Tensor, rows: readonly (readonly number[])[]): void {
  for (const [row, values] of rows.entries()) {
    const mean = values.reduce((sum, value) => sum + value / 4, 0);
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2 / 4, 0));
    for (const [k, value] of values.entries()) {
      expect(Number(data[4 * row + k])).toBeCloseTo((value - mean) / deviation, 2);
    }
  }
}

describe("of a Euclidean exit", () => {
  const fitted = () =>
    fit(model, () => batches("train", 60), { ...rules, metric: "euclidean", features: "full", device });
  const { distances, meanDistances } = golden.exits[0]!;
  const normalised = distances.map((row) => row.map((distance, k) => distance / meanDistances[k]!));

  it("are the distances to the class means by the training set's mean distances, as NumPy computes them", async () => {
    const { data } = await inputsOf((await fitted()).exits[0]!, { standardise: false });
    for (const [at, value] of normalised.flat().entries()) expect(Number(data[at])).toBeCloseTo(value, 4);
  });

  it("are standardised over the classes, sample by sample", async () => {
    expectStandardised(await inputsOf((await fitted()).exits[0]!), normalised);
  });
});

it("of an exit with a shared covariance are its standardised scores", async () => {
  const fitted = await fit(model, batches("train", 60), { ...rules, device });
  const { scores } = await recordScores(model, fitted, batches("test", 60), { device });
  const rows = Array.from({ length: 60 }, (_, row) => Array.from(scores[0]!.subarray(4 * row, 4 * row + 4)));
  expectStandardised(await inputsOf(fitted.exits[0]!), rows);
  const { data } = await inputsOf(fitted.exits[0]!, { standardise: false });
  for (const [at, value] of rows.flat().entries()) expect(Number(data[at])).toBeCloseTo(value, 3);
});

it("are 0 where a sample is as far from every class", async () => {
  const { exits } = await fit(model, batches("train", 60), { ...rules, metric: "euclidean" });
  const exit = exits[0] as ClassMeansExit;
  const same = { ...exit, means: new Float32Array(exit.means.length), distances: exit.distances.map(() => 2) };
  const program = trace(({ x }) => ({ y: distanceInputs(same).of(x) }), { x: spec("float32", ["n", 4, 8, 8]) });
  const runner = await device.compile(program);
  const { y } = await runner.run({ x: tensor("float32", [1, 4, 8, 8], new Float32Array(256).fill(3)) });
  await runner.release();
  expect(Array.from(y!.data as Float32Array, Math.abs)).toEqual([0, 0, 0, 0]);
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

it("know no other options", async () => {
  const { exits } = await fit(model, batches("train", 60), { ...rules, device });
  const misspelt = { standardize: false } as DistanceInputsOptions;
  expect(() => distanceInputs(exits[0]!, misspelt)).toThrow(/e2cm.distanceInputs: .*standardize/);
});
