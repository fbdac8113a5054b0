import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Device,
  generator,
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
  training,
  type Value,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ExitParameters, lossWeights, type TrainExitsOptions, trainExits } from "../src/index.ts";
import { trainingStep } from "../src/training/training-step.ts";
import { dataset, tinyBackbone, tinyNetwork, tinyParameters, trainingOptions } from "./exit-networks.ts";
import { expectClose, expectNumbers, golden, labels, nested, unpacked } from "./golden.ts";

type LossWeights = NonNullable<TrainExitsOptions["lossWeights"]>;

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const network = tinyNetwork();
const data = dataset(64);
const flat = (params: ExitParameters): Record<string, Tensor> => layers.flattenParameters(params);
const run = (changed: Partial<TrainExitsOptions> = {}) => trainExits(device, network, data, trainingOptions(changed));

describe("training the exits alone", () => {
  it("learns, and leaves the backbone and its running statistics as they are, bit for bit", async () => {
    const before = structuredClone(network.backbone.params);
    const { params, history, steps, stopped } = await run({ epochs: 6 });
    expect(params.backbone).toEqual(before);
    expect([steps, stopped, history.length]).toEqual([24, "epochs", 6]);
    const [first, last] = [history[0]!, history[5]!];
    for (const j of [0, 1, 2]) {
      expect(last.losses[j]).toBeLessThan(0.9 * first.losses[j]!);
      expect(last.accuracies[j]).toBeGreaterThan(first.accuracies[j]!);
    }
    // The last exit is the frozen network; only the order of the samples changes.
    expect(last.losses[3]).toBeCloseTo(first.losses[3]!, 5);
    expect(last.loss).toBeCloseTo(last.losses.reduce((sum, loss) => sum + loss));
  });

  it("moves every parameter of the heads, their running statistics too", async () => {
    const first = network.init(generator(5));
    const { params } = await run({ params: first, epochs: 1 });
    const start = flat(first);
    for (const [path, { data }] of Object.entries(flat(params))) {
      if (path.startsWith("exits.")) expect(data, path).not.toEqual(start[path]!.data);
      else expect(data, path).toEqual(start[path]!.data);
    }
  });

  it("has no node that goes back through the backbone", () => {
    const params = network.init(generator(1));
    const counted = (trains: "exits" | "all") => {
      const optimiser = optimisers.sgd();
      const plan = { network, params, trains, batchSize: 4, optimiser, distillation: undefined };
      const names = trainingStep(plan).program.nodes.map(({ operator }) => operator.name);
      return (name: string) => names.filter((other) => other === name).length;
    };
    const [frozen, whole] = [counted("exits"), counted("all")];
    // What is left is the convolutional head's own filter and batch norm. The gradient of average pooling is a convolution's.
    expect([frozen("convWeightGradient"), frozen("convInputGradient")]).toEqual([1, 0]);
    expect([whole("convWeightGradient"), whole("convInputGradient")]).toEqual([4, 4]);
    expect([frozen("batchNormTraining"), frozen("batchNorm"), frozen("batchNormGradient")]).toEqual([1, 3, 1]);
    expect([whole("batchNormTraining"), whole("batchNorm")]).toEqual([4, 0]);
  });
});

describe("training steps", () => {
  it.each(golden.steps.map((one) => [one.trains, one] as const))(
    "are PyTorch's: losses, parameters and running statistics (%s)",
    async (trains, one) => {
      const params = {
        backbone: nested(one.before.backbone),
        exits: Object.values(nested(one.before.exits)) as ExitParameters["exits"],
      };
      const small = tinyNetwork(tinyBackbone(tinyParameters(4)));
      const data = training.tensorDataset({ x: unpacked(one.x), y: labels(one.y) });
      const result = await trainExits(device, small, data, {
        trains,
        params,
        batchSize: 4,
        epochs: 2,
        shuffle: false,
        generator: generator(1),
        learningRate: 0.1,
        optimiser: optimisers.sgd({ momentum: 0.9, weightDecay: 1e-3 }),
        lossWeights: lossWeights.constant(one.weights),
        ...(one.distillation === null ? {} : { distillation: one.distillation }),
        ...(one.teacher === undefined ? {} : { teacher: { ...params, backbone: nested(one.teacher) } }),
      });
      one.seen.forEach(({ loss, losses }, epoch) => {
        expect(result.history[epoch]!.loss).toBeCloseTo(loss, 4);
        expectNumbers(result.history[epoch]!.losses, losses, 4);
      });
      const found = flat(result.params);
      for (const part of ["backbone", "exits"] as const) {
        for (const [path, wanted] of Object.entries(one.after[part])) {
          expectClose(found[`${part}.${path}`], wanted, `${part}.${path}`, 2e-4);
        }
      }
      expect(Object.keys(found).length).toBe(
        Object.keys(one.after.backbone).length + Object.keys(one.after.exits).length,
      );
    },
  );

  it("taught with weight 0 are those without a teacher, bit for bit; a teacher needs distillation", async () => {
    const rules = { trains: "all", epochs: 1, params: network.init(generator(1)) } as const;
    const teacher = network.init(generator(8));
    const plain = await run(rules);
    expect(await run({ ...rules, teacher, distillation: { weight: 0, temperature: 2 } })).toEqual(plain);
    expect(await run({ ...rules, teacher, distillation: { weight: 1, temperature: 2 } })).not.toEqual(plain);
    await expect(run({ ...rules, teacher })).rejects.toThrow(/a teacher needs distillation; got none/);
    const other = { backbone: {}, exits: [] };
    await expect(run({ ...rules, teacher: other, distillation: { weight: 1, temperature: 2 } })).rejects.toThrow(
      /parameters must be those/,
    );
  });

  it("with weights 0 for early exits are the plain network's", async () => {
    const rules = {
      trains: "all",
      epochs: 1,
      params: network.init(generator(1)),
      optimiser: optimisers.sgd(),
    } as const;
    const { params } = await run({ ...rules, lossWeights: lossWeights.constant([0, 0, 0, 1]) });
    const { backbone } = network;
    const state = { params: backbone.params };
    const program = trace(
      ({ params, x, y, learningRate }) => {
        const { logits, updated } = backbone.apply(params, x, true);
        const loss = ops.crossEntropy(logits, y);
        const trained = layers.trainable<object>(params) as TreeRecord<Value>;
        const next = optimisers.sgd().update(gradients(loss, trained), {}, trained, { learningRate });
        return { loss, params: layers.mergeParameters(params, next.params, updated) };
      },
      {
        params: layers.specsOf<TreeRecord<Spec>>(backbone.params),
        x: spec("float32", [16, 3, 8, 8]),
        y: spec("int64", [16]),
        learningRate: spec("float32", []),
      },
    );
    const runner = await device.compile(program, { state: ["params"], initial: state });
    const random = generator(5);
    random.split();
    await training.train({ runner, data, batchSize: 16, epochs: 1, generator: random, learningRate: 0.01 });
    const plain = await runner.readState();
    await runner.release();
    for (const [path, { data }] of Object.entries(plain)) {
      const own = flat(params)[`backbone.${path.slice("params.".length)}`]!;
      expectNumbers(own.data, data, 6, path);
    }
  });

  it("take the exits' weights as an input: a schedule changes them without a new program", async () => {
    const seen: [number, number][] = [];
    const schedule: LossWeights = ({ epoch, epochs, progress }) => {
      seen.push([epoch, progress]);
      expect(epochs).toBe(2);
      return [epoch === 0 ? 1 : 0, 0, 0, 0.5];
    };
    const { history } = await run({ lossWeights: schedule });
    expect(seen).toEqual([[0, 0], ...[0, 1, 2, 3, 4, 5, 6, 7].map((step) => [step < 4 ? 0 : 1, step / 8])]);
    expect(history[0]!.loss).toBeCloseTo(history[0]!.losses[0]! + history[0]!.losses[3]! / 2, 5);
    expect(history[1]!.loss).toBeCloseTo(history[1]!.losses[3]! / 2, 5);
  });
});

describe("a run that was stopped", () => {
  const folder = mkdtempSync(join(tmpdir(), "exitkit-train-exits-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(["exits", "all"] as const)("goes on with the same bits (%s)", async (trains) => {
    const rules = { trains, epochs: 3, distillation: { weight: 0.5, temperature: 2 } } as const;
    const whole = await run(rules);
    const checkpoint = { folder: join(folder, trains), everySteps: 3 };
    const stopping = await run({ ...rules, checkpoint, onStep: ({ step }) => (step === 5 ? "stop" : undefined) });
    expect([stopping.stopped, stopping.steps]).toEqual(["callback", 6]);
    const resumed = await run({ ...rules, checkpoint, resume: true, generator: generator(5) });
    expect(resumed).toEqual(whole);
  });

  it("refuses to go on with another frozen backbone, other data or another optimiser, unless by name", async () => {
    const checkpoint = { folder: join(folder, "identity") };
    const params = network.init(generator(5));
    const moved = Object.fromEntries(
      Object.entries<Tensor>(layers.flattenParameters(params.backbone)).map(([name, { shape, data }]) => [
        name,
        tensor(
          "float32",
          shape,
          (data as Float32Array).map((value) => 1.01 * value),
        ),
      ]),
    );
    const other = { ...params, backbone: layers.unflattenParameters(moved, params.backbone) };
    await run({ epochs: 2, params, checkpoint, onStep: ({ step }) => (step === 3 ? "stop" : undefined) });
    const resume = { epochs: 2, checkpoint, resume: true };
    await expect(run({ ...resume, params: other })).rejects.toThrow('resumeWithOther: ["identity"]');
    const shuffled = {
      ...data,
      batch: (at: Int32Array, g: Parameters<typeof data.batch>[1]) => data.batch(at.toReversed(), g),
    };
    await expect(trainExits(device, network, shuffled, trainingOptions({ ...resume, params }))).rejects.toThrow(
      'got other samples. Give it what it had, or say that it may have others: resumeWithOther: ["data"].',
    );
    const { steps } = await run({ ...resume, params: other, resumeWithOther: ["identity"] });
    expect(steps).toBe(8);
  });

  it("stops at a signal, and tells every epoch", async () => {
    const signal = new AbortController();
    const epochs: number[] = [];
    const { stopped, history } = await run({
      epochs: 5,
      signal: signal.signal,
      evaluate: async ({ epoch, readParams }) => {
        const { backbone, exits } = await readParams();
        expect([Object.keys(backbone), exits.length]).toEqual([["stem", "block", "down", "last"], 3]);
        return { twice: 2 * epoch };
      },
      onEpoch: ({ epoch, evaluation }) => {
        epochs.push(evaluation.twice!);
        if (epoch === 1) signal.abort();
      },
    });
    expect([stopped, epochs, history.length]).toEqual(["signal", [0, 2], 2]);
  });
});

describe("training refuses", () => {
  it("weights that are not one finite number for each exit, before any work", async () => {
    const wrong = (weights: readonly number[]) => run({ lossWeights: () => weights });
    await expect(wrong([1, 1])).rejects.toThrow(
      "early-exit.trainExits: the loss needs 4 finite weights ≥ 0, one for each exit, the last included, and not all 0; got [1, 1].",
    );
    await expect(wrong([1, 1, Number.NaN, 1])).rejects.toThrow("got [1, 1, NaN, 1]");
    await expect(wrong([1, -1, 1, 1])).rejects.toThrow("got [1, -1, 1, 1]");
  });

  it("labels the network has no class for", async () => {
    const bad = training.tensorDataset({
      x: tensor("float32", [16, 3, 8, 8]),
      y: tensor("int64", [16], Array(16).fill(4n)),
    });
    await expect(trainExits(device, network, bad, trainingOptions())).rejects.toThrow(
      /early-exit\.trainExits: labels must be 0 … 3, as the network has 4 classes; got 4 for sample \d+/,
    );
  });

  it("unknown options and parameters of another network", async () => {
    await expect(run({ batch: 3 } as Partial<TrainExitsOptions>)).rejects.toThrow(/unknown option "batch"/);
    await expect(run({ trains: "nothing" as "all" })).rejects.toThrow(/option "trains"/);
    const other = tinyNetwork(tinyBackbone(tinyParameters(4)));
    await expect(run({ params: other.init(generator(1)) })).rejects.toThrow(
      /the parameters must be those of the network: "backbone\.stem\.conv\.weight" float32 \[16, 3, 3, 3\]; got float32 \[4, 3, 3, 3\]/,
    );
  });

  it("a loss that is not finite, naming the step", async () => {
    await expect(run({ learningRate: 1e30, optimiser: optimisers.sgd() })).rejects.toThrow(/loss was (NaN|Infinity)/);
  });
});
