import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type Device,
  generator,
  gradients,
  layers,
  openDevice,
  ops,
  optimisers,
  readModelFile,
  type Spec,
  spec,
  type TreeRecord,
  tensor,
  trace,
  training,
  type Value,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  countExitCosts,
  type ExitParameters,
  exitNetwork,
  heads,
  importBackbone,
  lossWeights,
  openStaged,
  programBackbone,
  recordExits,
  replay,
  toExitModel,
  trainExits,
} from "../src/index.ts";
import { evaluate } from "./exit-networks.ts";
import { expectClose, expectNumbers, nested, type Packed, unpacked } from "./golden.ts";

type Flat = Readonly<Record<string, Packed>>;

/** What fixtures/generate-tokens.py computed with PyTorch and ONNX Runtime. */
const golden = JSON.parse(readFileSync(new URL("../fixtures/tokens.json", import.meta.url), "utf8")) as {
  readonly heads: readonly {
    readonly tokens: heads.Tokens;
    readonly shape: readonly number[];
    readonly params: Flat;
    readonly x: Packed;
    readonly y: readonly number[] | readonly (readonly number[])[];
    readonly logits: Packed;
    readonly ofX: Packed;
    readonly gradients: Flat;
  }[];
  readonly vit: {
    readonly taps: readonly [string, string];
    readonly x: Packed;
    readonly y: readonly number[];
    readonly before: readonly Flat[];
    readonly after: readonly Flat[];
    readonly losses: readonly (readonly number[])[];
    readonly logits: readonly Packed[];
  };
};

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

describe("heads that read tokens, as PyTorch computes them", () => {
  it.each(golden.heads.map((one) => [one.tokens, one] as const))("%s", async (tokens, one) => {
    const head = heads.linear({ tokens });
    const params = nested(one.params);
    const first = layers.flattenParameters(head.init(generator(1), one.shape, 4));
    expect(first.weight!.shape).toEqual([4, 5]);
    const y = one.y.flat().map(BigInt);
    const shape = tokens === "each" ? [5, 6] : [5];
    const program = trace(
      (given) => {
        const values = given.params as TreeRecord<Value>;
        const { logits } = head.apply(values, given.x, true);
        return {
          logits,
          ...gradients(ops.crossEntropy(logits, given.y), {
            ofX: given.x,
            of: layers.flattenParameters(values),
          }),
        };
      },
      {
        params: layers.specsOf<TreeRecord<Spec>>(params),
        x: spec("float32", one.x.shape),
        y: spec("int64", shape),
      },
    );
    const feeds = { ...layers.flattenParameters({ params }), x: unpacked(one.x), y: tensor("int64", shape, y) };
    const found = await evaluate(device, program, feeds);
    expectClose(found.logits, one.logits, "logits");
    expectClose(found.ofX, one.ofX, "gradient of the features");
    for (const [path, wanted] of Object.entries(one.gradients)) expectClose(found[`of.${path}`], wanted, path);
  });

  it("must be told what to read, and of tokens alone", () => {
    const random = generator(1);
    expect(() => heads.linear().init(random, [65, 192], 10)).toThrow(
      'early-exit.heads.linear: features of one sample must be [d] or [c, h, w]; got [65, 192]. Say what to read of tokens [t, d]: tokens: "mean", "first" (the class token) or "each".',
    );
    expect(() => heads.linear({ tokens: "mean" }).init(random, [8, 4, 4], 10)).toThrow(
      'must be [t, d] with tokens: "mean"; got [8, 4, 4].',
    );
    expect(() => heads.linear({ tokens: "last" as "first" })).toThrow(/option "tokens"/);
    const extra = { size: 1, of: (x: Value) => x };
    expect(() => heads.linear({ tokens: "each", extra })).toThrow('not with tokens: "each"; got both.');
  });
});

describe("exits on an exported vision transformer", () => {
  it("become PyTorch's, and run in stages", async () => {
    const { vit } = golden;
    const path = fileURLToPath(new URL("../../core-gpu/fixtures/import/vit-dynamo-23.onnx", import.meta.url));
    const backbone = importBackbone(await readModelFile(path), { taps: vit.taps });
    expect(backbone.units).toBe(1);
    const network = exitNetwork(backbone, [
      { tap: vit.taps[0], head: heads.linear({ tokens: "mean" }) },
      { tap: vit.taps[1], head: heads.linear({ tokens: "first" }) },
    ]);
    const x = unpacked(vit.x);
    const y = Int32Array.from(vit.y);
    const labelled = training.tensorDataset({ x, y: tensor("int32", [y.length], y) });
    const params: ExitParameters = { backbone: backbone.params, exits: vit.before.map(nested) };
    const result = await trainExits(device, network, labelled, {
      trains: "exits",
      params,
      batchSize: 4,
      epochs: 2,
      shuffle: false,
      generator: generator(1),
      learningRate: 0.1,
      optimiser: optimisers.sgd({ momentum: 0.9 }),
      lossWeights: lossWeights.constant([1, 1, 0]),
    });
    vit.losses.forEach((wanted, epoch) => {
      expectNumbers(result.history[epoch]!.losses.slice(0, 2), wanted, 4);
    });
    vit.after.forEach((wanted, exit) => {
      const found = layers.flattenParameters(result.params.exits[exit]!);
      for (const [name, values] of Object.entries(wanted)) expectClose(found[name], values, `${exit}.${name}`, 1e-4);
    });
    expect(result.params.backbone).toEqual(backbone.params);

    const exitModel = toExitModel(network, result.params);
    const record = await recordExits(device, exitModel, [{ x, y }]);
    const best = vit.logits.map(({ shape: [n, k], data }) =>
      Array.from({ length: n! }, (_, row) => {
        const own = data.slice(row * k!, (row + 1) * k!);
        return own.indexOf(Math.max(...own));
      }),
    );
    expect(record.predictions.map((row) => [...row])).toEqual(best);
    const costs = await countExitCosts(device, exitModel);
    const thresholds = record.confidences.slice(0, 2).map((row) => [...row].sort()[4]!);
    const offline = replay(record, thresholds, costs);
    const staged = await openStaged(device, exitModel);
    const real = await staged.classify(x, thresholds);
    await staged.release();
    expect([real.leftAt, real.predictions]).toEqual([offline.leftAt, offline.predictions]);
    expect(new Set(real.leftAt).size).toBeGreaterThan(1);
  });
});

describe("a network that answers every token", () => {
  const t = 3;
  const d = 4;
  const k = 3;
  const random = generator(3);
  const backbone = programBackbone({
    params: {
      first: layers.initLinear(random, { in: d, out: d }),
      last: layers.initLinear(random, { in: d, out: k }),
    },
    input: spec("float32", ["n", t, d]),
    apply: (params, x) => {
      const hidden = ops.relu(layers.linear(params.first, x));
      return { taps: { hidden }, logits: layers.linear(params.last, hidden) };
    },
  });
  const network = exitNetwork(backbone, [{ tap: "hidden", head: heads.linear({ tokens: "each" }) }]);
  // A token is of the class that its first feature says.
  const n = 24;
  const x = tensor("float32", [n, t, d]);
  const y = new Int32Array(n * t);
  for (let token = 0; token < n * t; token++) {
    y[token] = random.integer(k);
    for (let at = 0; at < d; at++) x.data[token * d + at] = random.normal() * 0.3 + (at === 0 ? y[token]! - 1 : 0);
  }
  const labels = tensor("int32", [n, t], y);

  it("trains exits that do, alike to one that sees its tokens as samples", async () => {
    const flat = programBackbone({
      params: backbone.params as { first: layers.LinearParameters; last: layers.LinearParameters },
      input: spec("float32", ["n", d]),
      apply: (params, x) => {
        const hidden = ops.relu(layers.linear(params.first, x));
        return { taps: { hidden }, logits: layers.linear(params.last, hidden) };
      },
    });
    const alone = exitNetwork(flat, [{ tap: "hidden", head: heads.linear() }]);
    const rules = {
      trains: "all",
      epochs: 3,
      shuffle: false,
      learningRate: 0.5,
      optimiser: optimisers.sgd(),
      distillation: { weight: 0.5, temperature: 2 },
    } as const;
    const whole = await trainExits(device, network, training.tensorDataset({ x, y: labels }), {
      ...rules,
      batchSize: 8,
      generator: generator(5),
    });
    const rows = { x: tensor("float32", [n * t, d], x.data), y: tensor("int32", [n * t], y) };
    const single = await trainExits(device, alone, training.tensorDataset(rows), {
      ...rules,
      batchSize: 8 * t,
      generator: generator(5),
    });
    whole.history.forEach(({ loss, losses, accuracies }, epoch) => {
      expect(loss).toBeCloseTo(single.history[epoch]!.loss, 5);
      expectNumbers(losses, single.history[epoch]!.losses, 5);
      expectNumbers(accuracies, single.history[epoch]!.accuracies, 5);
    });
  });

  it.each(["last", "mostConfident"] as const)("is recorded token by token (%s)", async (whenNoneIsSure) => {
    const params = network.init(generator(2));
    const exitModel = toExitModel(network, params, { whenNoneIsSure });
    const record = await recordExits(device, exitModel, [{ x, y: labels }], { unit: "token", ignore: 2 });
    const kept = [...y.keys()].filter((token) => y[token] !== 2);
    expect([...record.labels]).toEqual(kept.map((token) => y[token]));
    expect([...record.groups!]).toEqual(kept.map((token) => Math.floor(token / t)));
    expect([record.unit, record.n]).toEqual(["token", kept.length]);
    // The same by hand: softmax of every token's logits.
    const program = trace(
      (given) => ({
        logits: network.apply(given.params as ExitParameters<Value>, given.x, { trains: "nothing" }).logits[0]!,
      }),
      { params: layers.specsOf<TreeRecord<Spec>>(params), x: spec("float32", [n, t, d]) },
    );
    const { logits } = await evaluate(device, program, { ...layers.flattenParameters({ params }), x });
    kept.forEach((token, at) => {
      const own = [...(logits!.data as Float32Array).subarray(token * k, (token + 1) * k)];
      const most = Math.max(...own);
      expect(record.predictions[0]![at]).toBe(own.indexOf(most));
      const sum = own.reduce((all, score) => all + Math.exp(score - most), 0);
      expect(record.confidences[0]![at]).toBeCloseTo(1 / sum, 5);
      if (whenNoneIsSure === "mostConfident")
        expect(record.confidences[1]![at]).toBeGreaterThanOrEqual(record.confidences[0]![at]!);
    });
    const [sample, token] = await Promise.all([
      countExitCosts(device, exitModel),
      countExitCosts(device, exitModel, { units: t }),
    ]);
    expect(token.exits.map((macs) => macs * t)).toEqual(sample.exits);
    await expect(recordExits(device, exitModel, [{ x, y: labels }])).rejects.toThrow("must have 24 labels; got 72");
    await expect(recordExits(device, exitModel, [{ x, y: Int32Array.from({ length: n }) }])).rejects.toThrow(
      'Say what is answered: unit: "pixel" or "token".',
    );
    await expect(
      recordExits(device, exitModel, [{ x, y: Int32Array.from({ length: n }) }], { unit: "token" }),
    ).rejects.toThrow("answers [24, 3] must have as many labels; got 24");
  });

  it("refuses exits that answer samples", () => {
    expect(() => exitNetwork(backbone, [{ tap: "hidden", head: heads.linear({ tokens: "mean" }) }])).toThrow(
      "must give logits [n, 3, 3], as the backbone does; got [n, 3]",
    );
  });
});
