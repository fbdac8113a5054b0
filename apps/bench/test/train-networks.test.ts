import { readFile } from "node:fs/promises";
import {
  countMacs,
  type Device,
  generator,
  layers,
  openDevice,
  ops,
  optimisers,
  probeShapes,
  programToModel,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { oneBatch } from "../src/data/batches.ts";
import { openDataset } from "../src/data/directory.ts";
import { slicePictures } from "../src/data/pictures.ts";
import { cifar10 } from "../src/data/sets/index.ts";
import { optimiserOf } from "../src/experiments/train-step/step-runner.ts";
import {
  evaluationProgram,
  STATE,
  stepOf,
  trainingProgram,
  trainingState,
  weightsOf,
} from "../src/training/programs.ts";
import { pretrained, resnet, trainedWeights } from "../src/zoo/resnet.ts";
import { trainableResnet } from "../src/zoo/train-resnet.ts";
import { trainableDecoder, trainableVit } from "../src/zoo/train-transformer.ts";
import type { TrainableNetwork } from "../src/zoo/trainable.ts";
import { readWeights } from "../src/zoo/weights.ts";
import { noise } from "./noise.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const NETWORKS: Readonly<Record<string, () => TrainableNetwork>> = {
  resnet8: () => trainableResnet(8),
  vit: trainableVit,
  decoder: trainableDecoder,
};

interface Golden {
  readonly cases: readonly {
    readonly network: string;
    readonly batch: number;
    readonly parameters: number;
    readonly losses: readonly number[];
  }[];
}

/** The network's first parameters with every trained one replaced by the formula's. */
function filled(network: TrainableNetwork): TreeRecord<Tensor> {
  const first = network.init(generator(1));
  const flat = layers.flattenParameters(first);
  const trained = Object.keys(flat).filter((name) => !layers.isStatistic(name));
  trained.sort().forEach((name, salt) => {
    const { shape, data } = flat[name]!;
    const values = noise(data.length, salt);
    const scale = shape.length > 1 ? Math.fround(Math.sqrt(shape[0]! / data.length)) : Math.fround(0.1);
    const base = shape.length === 1 && name.endsWith("weight") ? 1 : 0;
    flat[name] = tensor(
      "float32",
      shape,
      values.map((value) => Math.fround(value * scale) + base),
    );
  });
  return layers.unflattenParameters(flat, first);
}

function batchOf(name: string, batch: number): { x: Tensor; y: Tensor } {
  if (name === "decoder") {
    const tokens = (factor: number) =>
      BigInt64Array.from({ length: batch * 512 }, (_, at) => BigInt((at * factor) % 4096));
    return { x: tensor("int64", [batch, 512], tokens(37)), y: tensor("int64", [batch * 512], tokens(53)) };
  }
  const y = BigInt64Array.from({ length: batch }, (_, at) => BigInt((at * 7) % 10));
  return { x: tensor("float32", [batch, 3, 32, 32], noise(batch * 3072, 1000)), y: tensor("int64", [batch], y) };
}

describe("training networks", () => {
  it("learn as PyTorch's do: the losses of the first steps, and afterwards with running statistics", async () => {
    const golden = JSON.parse(await readFile(new URL("../fixtures/train.json", import.meta.url), "utf8")) as Golden;
    expect(golden.cases.map(({ network }) => network)).toEqual(Object.keys(NETWORKS));
    for (const { network: name, batch, parameters, losses } of golden.cases) {
      const network = NETWORKS[name]!();
      const params = filled(network);
      expect([name, layers.countParameters(params)]).toEqual([name, parameters]);
      const { optimiser, learningRate } = optimiserOf(name);
      const state = optimiser.init(layers.trainable<object>(params) as TreeRecord<Tensor>);
      const specs = {
        params: layers.specsOf<TreeRecord<Spec>>(params),
        optimiser: layers.specsOf<TreeRecord<Spec>>(state),
      };
      const step = await device.compile(trainingProgram(network, batch, optimiser, specs), {
        state: STATE,
        initial: { params, optimiser: state },
      });
      const { x, y } = batchOf(name, batch);
      const found: number[] = [];
      for (let count = 1; count < losses.length; count++) {
        const { loss } = await step.run({ x, y, learningRate: tensor("float32", [], [learningRate]) });
        found.push(loss!.data[0] as number);
      }
      const trained = await step.readState();
      const judge = await device.compile(evaluationProgram(network, batch, specs.params), { state: ["params"] });
      await judge.writeState(Object.fromEntries(Object.entries(trained).filter(([key]) => key.startsWith("params."))));
      found.push((await judge.run({ x, y })).loss!.data[0] as number);
      await Promise.all([step.release(), judge.release()]);
      losses.forEach((loss, index) => {
        expect(Math.abs(found[index]! / loss - 1), `${name}, loss ${index}: ${found[index]} for ${loss}`).toBeLessThan(
          2e-4,
        );
      });
    }
  }, 60_000);

  it("a step clips the common norm of all gradients where it is asked to", async () => {
    const params = { a: tensor("float32", [1], [0]), b: tensor("float32", [1], [0]) };
    const optimiser = optimisers.sgd({});
    const { initial, specs } = trainingState(params, optimiser);
    const program = trace(
      (given) => {
        const { a, b } = given.params as Record<string, Value>;
        const loss = ops.sum(ops.add(ops.mul(a!, 3), ops.mul(b!, 4)));
        return stepOf(loss, given, optimiser, { clip: 1 });
      },
      { ...specs, learningRate: spec("float32", []) },
    );
    const step = await device.compile(program, { state: STATE, initial });
    await step.run({ learningRate: tensor("float32", [], [1]) });
    const { a, b } = await weightsOf(step);
    await step.release();
    expect(a!.data[0]).toBeCloseTo(-0.6, 5);
    expect(b!.data[0]).toBeCloseTo(-0.8, 5);
  });

  it("the ResNet is the zoo's: pretrained weights give the same logits", async () => {
    const { weights } = await readWeights("resnet20-12fca82f");
    const network = trainableResnet(20);
    const first = network.init(generator(1));
    const names: Readonly<Record<string, string>> = { runningMean: "running_mean", runningVariance: "running_var" };
    const params = Object.fromEntries(
      Object.keys(layers.flattenParameters(first)).map((name) => {
        const [, before, last] = /^(.*\.)(\w+)$/.exec(name)!;
        return [name, weights[`${before}${names[last!] ?? last}`]!];
      }),
    );
    const { x } = oneBatch(slicePictures((await openDataset(cifar10, undefined)).test, 0, 8));
    const forward = trace(({ params, x }) => ({ logits: network.apply(params, x, false).logits }), {
      params: layers.specsOf<TreeRecord<Spec>>(first),
      x: network.inputs(8).x,
    });
    const ours = await device.compile(forward, {
      state: ["params"],
      initial: layers.unflattenParameters({ ...prefixed(params) }, { params: first }),
    });
    const backbone = await pretrained("resnet20", { folded: false });
    const theirs = await device.load(backbone.model);
    const [{ logits: found }, { logits: wanted }] = [await ours.run({ x }), await theirs.run({ input: x })];
    found!.data.forEach((value, at) => {
      expect(Number(value)).toBeCloseTo(Number(wanted!.data[at]), 3);
    });
  }, 30_000);

  it("a ResNet trained here becomes an ONNX model with the same logits", async () => {
    const network = trainableResnet(8);
    const first = network.init(generator(5));
    const params = layers.flattenParameters(first) as Record<string, Tensor>;
    for (const [name, value] of Object.entries(params)) {
      // Statistics that differ from their first values, so that a mean taken for a variance is noticed.
      if (!/running/.test(name)) continue;
      (value.data as Float32Array).forEach((_, at, data) => {
        data[at] = 0.5 + (at % 7) / 5;
      });
    }
    const { x } = oneBatch(slicePictures((await openDataset(cifar10, undefined)).test, 0, 8));
    const forward = trace(({ params, x }) => ({ logits: network.apply(params, x, false).logits }), {
      params: layers.specsOf<TreeRecord<Spec>>(first),
      x: network.inputs(8).x,
    });
    const initial = layers.unflattenParameters({ ...prefixed(params) }, { params: first });
    const ours = await device.compile(forward, { state: ["params"], initial });
    const session = await device.load(resnet(8, trainedWeights(params)).model);
    const [{ logits: wanted }, { logits: found }] = [await ours.run({ x }), await session.run({ input: x })];
    found!.data.forEach((value, at) => {
      expect(Number(value)).toBeCloseTo(Number(wanted!.data[at]), 3);
    });
  }, 30_000);

  it("say how many multiply-accumulates they take", async () => {
    // The operators count alike; causal attention may leave out pairs that it does not need, so the decoder's is a formula.
    const grey = trainableResnet(14, { shape: [1, 28, 28], classes: 7 });
    for (const network of [trainableResnet(20), grey, trainableVit()]) {
      const program = trace(({ params, x }) => ({ logits: network.apply(params, x, false).logits }), {
        params: layers.specsOf<TreeRecord<Spec>>(network.init(generator(1))),
        x: network.inputs(1).x,
      });
      const model = programToModel(program);
      expect([network.name, network.macs]).toEqual([
        network.name,
        countMacs(model, await probeShapes(device, model)).total,
      ]);
    }
    expect(trainableResnet(56).macs).toBe(125_485_696);
    expect(trainableDecoder().macs).toBe(2_147_483_648 + 4 * 2 * 512 * 512 * 256);
  }, 30_000);

  it("refuse a depth that is none", () => {
    expect(() => trainableResnet(21)).toThrow("depth must be 6·b + 2 with a whole b ≥ 1; got 21");
  });
});

function prefixed(params: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [`params.${name}`, value]));
}
