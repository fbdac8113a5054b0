import {
  type Device,
  generator,
  layers,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  training,
} from "@exitkit/core-gpu";
import { exitNetwork, heads, programBackbone } from "@exitkit/early-exit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { criteria } from "../src/index.ts";
import { prunableWeights } from "../src/masks/weights.ts";
import { golden } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const { x, y, lossWeights, layers: parts, scores } = golden.taylor;
const layer = ({ weight, bias }: { weight: number[]; bias: number[] }, from: number, to: number) => ({
  weight: tensor("float32", [to, from], weight),
  bias: tensor("float32", [to], bias),
});
const backbone = programBackbone({
  params: { first: layer(parts.first, 4, 6), last: layer(parts.last, 6, 3) },
  input: spec("float32", ["n", 4]),
  apply: (given, value) => {
    const hidden = ops.relu(layers.linear(given.first, value));
    return { taps: { hidden }, logits: layers.linear(given.last, hidden) };
  },
});
const network = exitNetwork(backbone, [{ tap: "hidden", head: heads.linear() }]);
const params = { backbone: backbone.params, exits: [layer(parts.exit, 6, 3)] };
const inOrder = { ...generator(1), permutation: (n: number) => Int32Array.from({ length: n }, (_, at) => at) };
const context = () => ({
  device,
  network,
  params,
  weights: prunableWeights("test", network, params, "all"),
  trains: "all" as const,
  data: training.tensorDataset({
    x: tensor("float32", [8, 4], x),
    y: tensor("int64", [8], BigInt64Array.from(y as number[], BigInt)),
  }),
  lossWeights,
  random: inOrder,
});

it("Taylor scores are PyTorch's", async () => {
  const found = await criteria.taylor({ batchSize: 4, batches: 2 }).score(context());
  const names = { "backbone.first.weight": "first", "backbone.last.weight": "last", "exits.0.weight": "exit" };
  expect([...found.keys()]).toEqual(Object.keys(names));
  for (const [path, name] of Object.entries(names)) {
    found.get(path)!.data.forEach((score, at) => {
      expect(score, `${path} ${at}`).toBeCloseTo(scores[name][at], 6);
    });
  }
});

it("Taylor wants a batch of samples", async () => {
  await expect(criteria.taylor({ batchSize: 9 }).score(context())).rejects.toThrow(
    /at least 9 samples are needed; got 8/,
  );
});

it("magnitude is |w|, random follows the generator", async () => {
  const { weights } = context();
  const magnitude = await criteria.magnitude().score(context());
  for (const [path, { data }] of weights) expect(magnitude.get(path)!.data).toEqual(data.map(Math.abs));
  const draw = async (seed: number) =>
    [...(await criteria.random().score({ ...context(), random: generator(seed) })).values()].map(({ data }) => [
      ...data,
    ]);
  expect(await draw(1)).toEqual(await draw(1));
  expect(await draw(1)).not.toEqual(await draw(2));
});

it("weights that are not finite are refused by name", () => {
  const bad = structuredClone(params);
  (bad.exits[0]!.weight as Tensor).data[3] = Number.NaN;
  expect(() => prunableWeights("test", network, bad, "all")).toThrow(
    /weights of "exits.0.weight" must be finite; got NaN at element 3/,
  );
});
