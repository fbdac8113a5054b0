import { type Device, generator, layers, openDevice, optimisers, type Tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainingStep } from "../src/exitTraining.ts";
import { type ExitParameters, type TrainExitsOptions, trainExits } from "../src/index.ts";
import { dataset, tinyNetwork, trainingOptions } from "./exitNetworks.ts";

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
