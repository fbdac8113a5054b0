import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Device,
  generator,
  layers,
  openDevice,
  ops,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  training,
} from "@exitkit/core-gpu";
import { programBackbone } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { briefRun, gradientNorms, pruneBy, scoreColumns } from "../src/index.ts";
import { ring, ringBackbone } from "./ring.ts";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/gradient-norms.json"), "utf8"));
const n: number = golden.labels.length;
const x = tensor("float32", [n, 2, 5, 5], golden.x);
const y = tensor("int64", [n], BigInt64Array.from(golden.labels, BigInt));
const data = training.tensorDataset({ x, y });

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** Convolution, batch norm, mean and a linear layer; with `trains: "last"` only the last one is trained. */
function network(trains: "all" | "last" = "all") {
  const { filter, scale, shift, mean, variance, last, bias } = golden.weights;
  const random = generator(1);
  const norm = layers.initBatchNorm(3);
  const linear = layers.initLinear(random, { in: 3, out: 4 });
  const given: Record<string, number[]> = { scale, bias: shift, mean, variance };
  const fill = (like: Tensor, values: number[]) => tensor("float32", like.shape, values);
  const params = {
    conv: tensor("float32", [3, 2, 3, 3], filter),
    norm: Object.fromEntries(
      Object.entries(norm as unknown as TreeRecord<Tensor>).map(([name, like]) => {
        const values = given[{ weight: "scale", runningMean: "mean", runningVariance: "variance" }[name] ?? name];
        if (values === undefined) throw new Error(`batch norm has ${name}`);
        return [name, fill(like as Tensor, values)];
      }),
    ) as unknown as typeof norm,
    last: { ...linear, weight: fill(linear.weight, last), bias: fill(linear.bias!, bias) },
  };
  const backbone = programBackbone({
    params,
    input: spec("float32", ["n", 2, 5, 5]),
    apply: (values, pictures, isTraining) => {
      const normed = layers.batchNorm(values.norm, ops.conv(pictures, values.conv, { padding: 1 }), {
        training: isTraining,
      });
      const features = ops.flatten(ops.globalAveragePool(ops.relu(normed.y)));
      return {
        taps: { features },
        logits: layers.linear(values.last, features),
        updated: { norm: normed.updated },
      };
    },
  });
  if (trains === "all") return backbone;
  return { ...backbone, isTrainable: (path: string) => path.startsWith("last.") };
}

describe("norms of the samples' gradients", () => {
  it("of all parameters are PyTorch's", async () => {
    const norms = await gradientNorms(device, network(), data);
    norms.forEach((norm, i) => {
      expect(norm / golden.norms[i]).toBeCloseTo(1, 4);
    });
  });

  it("of the last layer alone are the closed form, ‖p − onehot(y)‖·√(‖h‖² + 1)", async () => {
    const norms = await gradientNorms(device, network("last"), data);
    norms.forEach((norm, i) => {
      expect(norm / golden.lastLayer[i]).toBeCloseTo(1, 4);
    });
    const { x: points, labels, data: ringData } = ring(60);
    const backbone = ringBackbone();
    const run = await briefRun(device, backbone, ringData, {
      tap: "first",
      featuresTap: "second",
      epochs: 1,
      batchSize: 20,
      generator: generator(2),
      learningRate: 0.01,
    });
    const last = { ...backbone, isTrainable: (path: string) => path.startsWith("last.") };
    const own = await gradientNorms(device, last, ringData, { params: run.params.backbone as TreeRecord<Tensor> });
    const [rows, d] = [points.shape[0]!, run.features!.shape[1]!];
    for (let i = 0; i < rows; i++) {
      const h = run.features!.data.subarray(i * d, (i + 1) * d);
      const square = h.reduce((sum, value) => sum + value ** 2, 0);
      expect(own[i]! / (run.final.errorNorm[i]! * Math.sqrt(square + 1))).toBeCloseTo(1, 4);
    }
    expect(labels.length).toBe(60);
  });

  it("rank samples, in the mean over runs, whatever their order", async () => {
    const norms = await gradientNorms(device, network(), data);
    const options = { ratio: 1 / 3, generator: generator(1), vanishing: "warn" } as const;
    const order = [...norms.keys()].sort((a, b) => norms[a]! - norms[b]!);
    const evidence = { labels: golden.labels, classes: 4, gradientNorms: norms };
    expect([...pruneBy("grandFull", evidence, options).pruned]).toEqual(order.slice(0, 3).sort((a, b) => a - b));
    // Another run in which the largest are the smallest outweighs the first.
    const final = scoreColumns(tensor("float32", [n, 4], new Array(4 * n).fill(0)), golden.labels);
    const runs = [{ final, gradientNorms: norms.map((norm) => 100 - 2 * norm) }];
    expect([...pruneBy("grandFull", { ...evidence, runs }, options).pruned]).toEqual(
      order.slice(-3).sort((a, b) => a - b),
    );
    const reversed = { ...evidence, ids: Int32Array.from(norms, (_, i) => n - 1 - i) };
    expect([...pruneBy("grandFull", reversed, options).pruned]).toEqual(
      order
        .slice(0, 3)
        .map((i) => n - 1 - i)
        .sort((a, b) => a - b),
    );
  });

  it("tell how far they are, stop when told, and refuse what does not fit", async () => {
    const seen: number[] = [];
    const stop = new AbortController();
    const onProgress = (samples: number) => {
      seen.push(samples);
      if (samples === 4) stop.abort(new Error("enough"));
    };
    await expect(gradientNorms(device, network(), data, { onProgress, signal: stop.signal })).rejects.toThrow("enough");
    expect(seen.slice(0, 4)).toEqual([1, 2, 3, 4]);
    expect(seen.length).toBeLessThan(n);
    const wrong = training.tensorDataset({ x, y: tensor("int64", [n], new BigInt64Array(n).fill(7n)) });
    await expect(gradientNorms(device, network(), wrong)).rejects.toThrow("labels must be 0 … 3");
    await expect(gradientNorms(device, network(), data, { fast: true } as never)).rejects.toThrow("fast");
    expect(() => pruneBy("grandFull", { labels: [0, 1], classes: 2 }, { ratio: 0.5, generator: generator(1) })).toThrow(
      "gradientNorms(device, backbone, data) gives it.",
    );
    const negative = { labels: [0, 1], classes: 2, gradientNorms: [1, -1] };
    expect(() => pruneBy("grandFull", negative, { ratio: 0.5, generator: generator(1) })).toThrow("finite and ≥ 0");
  });
});
