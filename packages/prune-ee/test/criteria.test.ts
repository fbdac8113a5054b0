import {
  type Device,
  generator,
  layers,
  onnx,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  training,
  type Value,
  writeModel,
} from "@exitkit/core-gpu";
import { exitNetwork, heads, programBackbone, toExitModel } from "@exitkit/early-exit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { criteria, pruneChannels, type ScoringContext, scoreChannels } from "../src/index.ts";
import { prunableWeights } from "../src/masks/weights.ts";
import { golden } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

type Layer = { readonly weight: number[]; readonly bias: number[] };
const layer = ({ weight, bias }: Layer, from: number, to: number) => ({
  weight: tensor("float32", [to, from], weight),
  bias: tensor("float32", [to], bias),
});
/** A layer, an exit of one layer behind it, a last layer. */
const small = (parts: Readonly<Record<"first" | "exit" | "last", Layer>>) => {
  const backbone = programBackbone({
    params: { first: layer(parts.first, 4, 6), last: layer(parts.last, 6, 3) },
    input: spec("float32", ["n", 4]),
    apply: (given, value) => {
      const hidden = ops.relu(layers.linear(given.first, value));
      return { taps: { hidden }, logits: layers.linear(given.last, hidden) };
    },
  });
  const network = exitNetwork(backbone, [{ tap: "hidden", head: heads.linear() }]);
  return { network, params: { backbone: backbone.params, exits: [layer(parts.exit, 6, 3)] } };
};
const names = { "backbone.first.weight": "first", "backbone.last.weight": "last", "exits.0.weight": "exit" };
const { x, y, lossWeights, layers: parts, scores } = golden.taylor;
const { network, params } = small(parts);
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
  expect([...found.keys()]).toEqual(Object.keys(names));
  for (const [path, name] of Object.entries(names)) {
    found.get(path)!.data.forEach((score, at) => {
      expect(score, `${path} ${at}`).toBeCloseTo(scores[name][at], 6);
    });
  }
});

it("movement scores are PyTorch's, and a weight that is 0 does not move", async () => {
  const { x, y, lossWeights, rate, layers: parts, scores } = golden.movement;
  const { network, params } = small(parts);
  const found = await criteria.movement({ batchSize: 4, learningRate: rate }).score({
    ...context(),
    network,
    params,
    weights: prunableWeights("test", network, params, "all"),
    data: training.tensorDataset({
      x: tensor("float32", [12, 4], x),
      y: tensor("int64", [12], BigInt64Array.from(y as number[], BigInt)),
    }),
    lossWeights,
  });
  for (const [path, name] of Object.entries(names)) {
    found.get(path)!.data.forEach((score, at) => {
      expect(score, `${path} ${at}`).toBeCloseTo(scores[name][at], 6);
    });
  }
  expect([found.get("backbone.first.weight")!.data[6], found.get("backbone.last.weight")!.data[3]]).toEqual([0, 0]);
});

it("activation scores are PyTorch's: of convolutions with a stride and in groups, and of linear layers", async () => {
  const { x, layers: parts, scores } = golden.activation;
  const part = (name: string) => ({
    weight: tensor("float32", parts[name].shape, parts[name].weight),
    bias: tensor("float32", [parts[name].shape[0]], parts[name].bias),
  });
  const flat = (given: ReturnType<typeof part>) => (value: Value) => layers.linear(given as never, ops.flatten(value));
  const backbone = programBackbone({
    params: { conv: part("conv"), grouped: part("grouped"), last: part("last") },
    input: spec("float32", ["n", 2, 6, 6]),
    apply: ({ conv, grouped, last }, value) => {
      const first = ops.relu(ops.conv(value, conv.weight, { bias: conv.bias, stride: 2, padding: 1 }));
      const second = ops.relu(ops.conv(first, grouped.weight, { bias: grouped.bias, padding: 1, groups: 2 }));
      return { taps: { first }, logits: flat(last as never)(second) };
    },
  });
  const exit = part("exit");
  const head = {
    init: () => exit,
    apply: (given: never, value: Value) => ({ logits: flat(given)(value), updated: {} }),
  };
  const network = exitNetwork(backbone, [{ tap: "first", head: head as never }]);
  const params = { backbone: backbone.params, exits: [exit] };
  const found = await criteria.activation({ batchSize: 2 }).score({
    ...context(),
    network,
    params,
    weights: prunableWeights("test", network, params, "all"),
    data: training.tensorDataset({ x: tensor("float32", [4, 2, 6, 6], x), y: tensor("int64", [4]) }),
  });
  const paths = { conv: "backbone.conv", grouped: "backbone.grouped", exit: "exits.0", last: "backbone.last" };
  for (const [name, path] of Object.entries(paths)) {
    found.get(`${path}.weight`)!.data.forEach((score, at) => {
      expect(score, `${path} ${at}`).toBeCloseTo(scores[name][at], 4);
    });
  }
});

it("activation scores do not depend on how samples are cut into batches, and refuse a weight that nothing multiplies", async () => {
  const whole = await criteria.activation({ batchSize: 8 }).score(context());
  const parts = await criteria.activation({ batchSize: 2 }).score(context());
  for (const [path, { data }] of whole) {
    data.forEach((score, at) => {
      expect(parts.get(path)!.data[at]).toBeCloseTo(score, 5);
    });
  }
  const weights = new Map([
    ...context().weights,
    ["backbone.first.bias", (params.backbone.first as ReturnType<typeof layer>).bias],
  ]);
  await expect(criteria.activation({ batchSize: 8 }).score({ ...context(), weights })).rejects.toThrow(
    /a convolution or matrix product must read "backbone.first.bias"; got none that is known/,
  );
});

it.each(["movement", "activation"] as const)("%s refuses what it cannot use", async (name) => {
  await expect(criteria[name]({ batchSize: 9 }).score(context())).rejects.toThrow(
    /at least 9 samples are needed; got 8/,
  );
  expect(() => criteria[name]({ batches: 0 })).toThrow(/"batches"/);
  expect(() => criteria[name]({ rate: 1 } as never)).toThrow(/unknown option "rate"/);
});

it("channels go by PyTorch's Taylor scores, summed over all that goes with them: two of six hidden features stay", async () => {
  const { data } = context();
  const byTaylor = await scoreChannels(device, network, data, {
    params,
    criterion: criteria.taylor({ batchSize: 4, batches: 2 }),
    random: inOrder,
    lossWeights,
  });
  const { model } = toExitModel(network, params);
  const { model: smaller } = await pruneChannels(device, model, { keep: 2 / 6, multipleOf: 1, scores: byTaylor });
  // Of each hidden feature: its row of the first layer, its columns of the exit's and the last.
  const of = (name: string, at: (feature: number, other: number) => number, others: number) =>
    Array.from({ length: 6 }, (_, feature) =>
      Array.from({ length: others }, (_, other) => scores[name][at(feature, other)]).reduce((sum, one) => sum + one, 0),
    );
  const parted = [
    of("first", (feature, other) => feature * 4 + other, 4),
    of("exit", (feature, other) => other * 6 + feature, 3),
    of("last", (feature, other) => other * 6 + feature, 3),
  ];
  const total = [0, 1, 2, 3, 4, 5].map((feature) => parted.reduce((sum, part) => sum + part[feature]!, 0));
  const best = [0, 1, 2, 3, 4, 5]
    .toSorted((a, b) => total[b]! - total[a]!)
    .slice(0, 2)
    .toSorted((a, b) => a - b);
  const weight = onnx.hostTensor("test", smaller.proto.graph!.initializer.find(({ dims }) => dims.join() === "2,4")!);
  expect([...weight.data]).toEqual(
    best.flatMap((row) => [...Float32Array.from(parts.first.weight.slice(row * 4, row * 4 + 4))]),
  );
});

it("channels' scores by magnitude squared are those that go without scores; what is no network is refused", async () => {
  const { data } = context();
  const squared = {
    name: "squared",
    score: ({ weights }: ScoringContext) =>
      new Map([...weights].map(([path, { shape, data }]) => [path, { shape, data: data.map((w) => w * w) }])),
  };
  const own = await scoreChannels(device, network, data, { params, criterion: squared, random: generator(1) });
  const { model } = toExitModel(network, params);
  const [a, b] = [
    await pruneChannels(device, model, { keep: 0.5, multipleOf: 1, scores: own }),
    await pruneChannels(device, model, { keep: 0.5, multipleOf: 1 }),
  ];
  expect(writeModel(a.model)).toEqual(writeModel(b.model));
  await expect(scoreChannels(device, undefined as never, data, {} as never)).rejects.toThrow(
    /an exit network is needed/,
  );
  await expect(scoreChannels(device, network, data, { params } as never)).rejects.toThrow(/"criterion"/);
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
