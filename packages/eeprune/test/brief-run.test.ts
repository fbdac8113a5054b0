import { type Device, generator, layers, openDevice, optimisers, type Tensor, training } from "@exitkit/core-gpu";
import { exitNetwork, heads, recordExits, toExitModel, trainExits } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type BriefRunOptions,
  briefRun,
  type PruneTrainingSetOptions,
  pruneBy,
  pruneTrainingSet,
} from "../src/index.ts";
import { RING_MACS, ring, ringBackbone } from "./ring.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const options = (given: Partial<BriefRunOptions> = {}): BriefRunOptions => ({
  tap: "first",
  epochs: 6,
  batchSize: 50,
  generator: generator(1),
  learningRate: 0.1,
  ...given,
});

describe("briefRun", () => {
  it("trains both exits, keeps what they said by epoch, and counts what that cost", async () => {
    const { data, labels } = ring(320);
    const losses: number[] = [];
    const run = await briefRun(
      device,
      ringBackbone(),
      data,
      options({ onEpoch: (_, loss) => losses.push(loss), featuresTap: "second" }),
    );
    expect(run.labels).toEqual(labels);
    expect(losses.length).toBe(6);
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
    for (const exit of [run.early, run.final]) {
      expect(exit.prediction.filter((answer, i) => answer === labels[i]).length).toBeGreaterThan(200);
    }
    // 320 samples make 6 batches of 50: 20 are left out of each epoch.
    expect(run.epochs.map(({ seen }) => seen.reduce((sum, one) => sum + one, 0))).toEqual(Array(6).fill(300));
    expect(run.features?.shape).toEqual([320, 16]);
    const { samplesSeen, samplesScored, macs, seconds } = run.cost;
    expect({ samplesSeen, samplesScored, macs }).toEqual({
      samplesSeen: 1800,
      samplesScored: 320,
      macs: RING_MACS * (3 * 1800 + 320),
    });
    expect(seconds.training).toBeGreaterThan(0);
  });

  it("stops where the signal comes, while it trains and before it begins", async () => {
    const { data } = ring(120);
    const stop = new AbortController();
    const epochs: number[] = [];
    const onEpoch = (epoch: number) => {
      epochs.push(epoch);
      if (epoch === 2) stop.abort(new Error("enough"));
    };
    const running = briefRun(device, ringBackbone(), data, options({ onEpoch, signal: stop.signal }));
    await expect(running).rejects.toThrow("enough");
    expect(epochs).toEqual([1, 2]);
    const before = options({ signal: stop.signal });
    await expect(briefRun(device, ringBackbone(), data, before)).rejects.toThrow("enough");
    await expect(pruneTrainingSet(device, ringBackbone(), data, { ...before, ratio: 0.3 })).rejects.toThrow("enough");
    expect((await briefRun(device, ringBackbone(), data, options({ epochs: 1 }))).epochs.length).toBe(1);
  });

  it("scores as the network answers without training", async () => {
    const { data, x, labels } = ring(120);
    const backbone = ringBackbone();
    const run = await briefRun(device, backbone, data, options());
    const network = exitNetwork(backbone, [{ tap: "first", head: heads.linear() }]);
    const y = Int32Array.from(labels);
    const record = await recordExits(device, toExitModel(network, run.params), [{ x, y }]);
    [run.early, run.final].forEach(({ prediction, confidence }, exit) => {
      for (let i = 0; i < 120; i++) {
        expect(record.predictions[exit]![i]).toBe(prediction[i]);
        expect(record.confidences[exit]![i]).toBeCloseTo(confidence[i]!, 5);
      }
    });
  });

  it("takes the steps that early-exit's own training takes", async () => {
    // One batch an epoch: the order inside it changes sums by rounding only.
    const { data } = ring(60);
    const backbone = ringBackbone();
    const optimiser = optimisers.sgd({ momentum: 0.9 });
    const network = exitNetwork(backbone, [{ tap: "first", head: heads.linear() }]);
    const params = network.init(generator(7));
    const common = { batchSize: 60, epochs: 5, learningRate: 0.05, optimiser, params };
    const trained = await trainExits(device, network, data, { ...common, trains: "all", generator: generator(1) });
    const run = await briefRun(device, backbone, data, { ...common, tap: "first", generator: generator(2) });
    const [one, other] = [trained.params, run.params].map((tree) => layers.flattenParameters(tree));
    for (const [name, { data: values }] of Object.entries(one!)) {
      const found = other![name]!.data;
      values.forEach((value, i) => {
        expect(Number(found[i])).toBeCloseTo(Number(value), 4);
      });
    }
  });

  it("the same seed gives the same scores, and feeds every method that needs epochs", async () => {
    const { data } = ring(120);
    const [one, other] = [
      await briefRun(device, ringBackbone(), data, options()),
      await briefRun(device, ringBackbone(), data, options()),
    ];
    expect(other!.early).toEqual(one!.early);
    for (const method of ["forgetting", "areaUnderMargin", "dynamicUncertainty", "el2n"] as const) {
      expect(pruneBy(method, one!, { ratio: 0.3, generator: generator(1) }).pruned.length).toBe(36);
    }
  });
});

describe("pruneTrainingSet", () => {
  it("prunes the middle of the sectors, whose points both exits are sure of", async () => {
    const { data, aside, labels } = ring(600);
    const { selection, run } = await pruneTrainingSet(device, ringBackbone(), data, {
      ...options({ epochs: 15 }),
      ratio: 0.3,
    });
    expect(selection.pruned.length + selection.missing).toBe(180);
    const mean = (ids: Int32Array) => ids.reduce((sum, i) => sum + aside[i]!, 0) / ids.length;
    expect(mean(selection.pruned)).toBeLessThan(0.75 * mean(selection.kept));
    for (const i of selection.pruned) {
      expect([run.early.prediction[i], run.final.prediction[i]]).toEqual([labels[i], labels[i]]);
      expect(run.early.confidence[i]).toBeGreaterThanOrEqual(selection.threshold!);
    }
  });

  it("trains longer where too few qualify, and no longer than allowed", async () => {
    const { data } = ring(300);
    const asked = {
      ...options({ epochs: 1, learningRate: 0.05 }),
      ratio: 0.6,
      shortfall: "trainLonger",
      vanishing: "warn",
    } as const;
    const stopped = await pruneTrainingSet(device, ringBackbone(), data, {
      ...asked,
      generator: generator(1),
      shortfall: "stop",
    });
    expect(stopped.selection.missing).toBeGreaterThan(0);
    const longer = await pruneTrainingSet(device, ringBackbone(), data, {
      ...asked,
      generator: generator(1),
      maxEpochs: 40,
    });
    expect(longer.selection.missing).toBe(0);
    expect(longer.run.epochs.length).toBeGreaterThan(1);
    const limited = await pruneTrainingSet(device, ringBackbone(), data, {
      ...asked,
      generator: generator(1),
      maxEpochs: 2,
    });
    expect(limited.run.epochs.length).toBe(2);
    expect(limited.run.cost.samplesSeen).toBe(600);
  });
});

describe("is refused", () => {
  const noisy = (): training.Dataset => {
    const { data } = ring(100);
    return {
      size: 100,
      async batch(indices, random) {
        const batch = await data.batch(indices, random);
        const x = batch.x as Tensor<"float32">;
        return { ...batch, x: { ...x, data: x.data.map((value) => value + 0.1 * random.normal()) } };
      },
    };
  };

  it("samples that change at random, unless clean ones are there", async () => {
    await expect(briefRun(device, ringBackbone(), noisy(), options())).rejects.toThrow(
      /samples must be scored without augmentation; got samples that change at random. Pass the same samples without augmentation as the option clean/,
    );
    const run = await briefRun(device, ringBackbone(), noisy(), options({ epochs: 1, clean: ring(100).data }));
    expect(run.early.confidence.length).toBe(100);
  });

  const { data } = ring(100);
  const labelled = (label: bigint) =>
    training.tensorDataset({ x: ring(100).x, y: { ...ring(100).y, data: new BigInt64Array(100).fill(label) } });
  const refusals: readonly [string, unknown, unknown, unknown, RegExp][] = [
    ["no device", undefined, data, options(), /device must be an open device/],
    ["no dataset", "device", undefined, options(), /data must be a dataset/],
    ["an unknown tap", "device", data, options({ tap: "third" }), /must read a tap of the backbone; got "third"/],
    [
      "an unknown features tap",
      "device",
      data,
      options({ featuresTap: "third" }),
      /featuresTap must be a tap of the backbone \(first, second\)/,
    ],
    ["no learning rate", "device", data, { tap: "first", generator: generator(1) }, /option "learningRate"/],
    ["an unknown option", "device", data, { ...options(), epoch: 3 }, /unknown option "epoch"/],
    [
      "fewer samples than a batch",
      "device",
      data,
      options({ batchSize: 128 }),
      /at least one batch of 128 samples is needed; got 100/,
    ],
    ["a label out of range", "device", labelled(5n), options(), /labels must be 0 … 4.*got 5 for sample 0/],
    [
      "clean of another size",
      "device",
      data,
      options({ clean: ring(50).data }),
      /clean must have the 100 samples of data; got 50/,
    ],
    [
      "no labels",
      "device",
      training.tensorDataset({ x: ring(100).x }),
      options(),
      /batches must be \{ x, y \}.*got no y/,
    ],
  ];
  it.each(refusals)("%s", async (_, where, given, asked, message) => {
    const attempt = briefRun(
      where === "device" ? device : (where as Device),
      ringBackbone(),
      given as training.Dataset,
      asked as BriefRunOptions,
    );
    await expect(attempt).rejects.toThrow(message);
  });

  it("no backbone, and neither ratio nor threshold", async () => {
    await expect(briefRun(device, undefined as never, data, options())).rejects.toThrow(/backbone must be one of/);
    const attempt = pruneTrainingSet(device, ringBackbone(), data, options() as PruneTrainingSetOptions);
    await expect(attempt).rejects.toThrow(/either ratio or threshold/);
  });
});
