import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Device,
  generator,
  layers,
  openDevice,
  optimisers,
  readSafetensorsFile,
  type Tensor,
  tensor,
  writeSafetensorsFile,
} from "@exitkit/core-gpu";
import { countExitCosts, type ExitParameters, NEVER, openStaged, toExitModel, trainExits } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  applyMasks,
  criteria,
  maskedOptimiser,
  nextMasks,
  type PruneNetworkOptions,
  pruneNetwork,
  sparsityOf,
} from "../src/index.ts";
import { prunableWeights } from "../src/masks/weights.ts";
import { fineTuning, flat, tinyData, tinyNetwork } from "./networks.ts";

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
  folder = mkdtempSync(join(tmpdir(), "prune-ee-"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await device.close();
});

const network = tinyNetwork();
const data = tinyData();
const dense = network.init(generator(2));
const prune = (changed: Partial<PruneNetworkOptions> = {}) =>
  pruneNetwork(device, network, data, {
    params: dense,
    order: "together",
    rounds: 2,
    fraction: 0.3,
    fineTuning,
    random: generator(5),
    ...changed,
  });
const zerosOf = (params: ExitParameters, masks: object) => sparsityOf(params, Object.keys(masks));

describe("pruning round by round", () => {
  it("leaves (1 − fraction)^r of all weights, and pruned ones stay 0 bit for bit through fine-tuning", async () => {
    const { params, masks, rounds, stopped } = await prune();
    const size = rounds[0]!.layers.reduce((sum, layer) => sum + layer.size, 0);
    expect(stopped).toBe("rounds");
    expect(rounds.map(({ sparsity }) => Math.round(sparsity * size))).toEqual(
      [0.7, 0.49].map((left) => size - Math.round(left * size)),
    );
    for (const [path, { data: mask }] of Object.entries(masks)) {
      const weight = flat(params)[path]!.data;
      mask.forEach((bit, at) => {
        if (bit === 0) expect(Object.is(weight[at], 0), `${path} ${at}`).toBe(true);
      });
    }
    expect(zerosOf(params, masks)).toEqual(rounds[1]!.layers);
    expect(Object.keys(masks)).toEqual([
      "backbone.first.conv.weight",
      "backbone.second.conv.weight",
      "backbone.last.weight",
      "exits.0.linear.weight",
      "exits.1.weight",
    ]);
    // Biases and norms train on.
    for (const path of ["backbone.first.norm.weight", "exits.0.linear.bias"]) {
      expect(flat(params)[path]!.data).not.toEqual(flat(dense)[path]!.data);
    }
  });

  it("sequential: the exits wait unchanged, then the backbone is frozen with its running statistics", async () => {
    const { rounds, params } = await prune({ order: "sequential" });
    expect(rounds.map(({ scope }) => scope)).toEqual(["backbone", "backbone", "exits", "exits"]);
    const { params: between } = await prune({
      order: "sequential",
      onRound: ({ round }) => (round === 1 ? "stop" : null),
    });
    expect(between.exits).toEqual(dense.exits);
    expect(params.backbone).toEqual(between.backbone);
    const share = (scope: string, round: number) => {
      const own = rounds[round]!.layers.filter(({ path }) => path.startsWith(scope));
      return own.reduce((sum, { zeros }) => sum + zeros, 0) / own.reduce((sum, { size }) => sum + size, 0);
    };
    expect([share("backbone", 1), share("exits", 1)]).toEqual([expect.closeTo(0.51, 2), 0]);
    expect([share("backbone", 3), share("exits", 3)]).toEqual([share("backbone", 1), expect.closeTo(0.51, 2)]);
  });

  it("exitsFirst: the exits are pruned on the dense backbone and keep their masks afterwards", async () => {
    const { rounds, params, masks } = await prune({ order: "exitsFirst", rounds: 1 });
    expect(rounds.map(({ scope }) => scope)).toEqual(["exits", "backbone"]);
    const exits = (round: number) => rounds[round]!.layers.filter(({ path }) => path.startsWith("exits."));
    expect(exits(1)).toEqual(exits(0));
    expect(applyMasks(params, masks)).toEqual(params);
  });

  it("costs what is left of it: exits' costs without zeros", async () => {
    const { params, rounds } = await prune();
    const model = toExitModel(network, params);
    const [all, left] = [await countExitCosts(device, model), await countExitCosts(device, model, { skipZeros: true })];
    const kept = Object.fromEntries(rounds[1]!.layers.map(({ path, sparsity }) => [path, 1 - sparsity]));
    const first = 64 * 6 * 2 * 9;
    const second = 16 * 8 * 6 * 9;
    const [early, mid] = [6 * 16 * 3, 8 * 3];
    expect(all.exits).toEqual([first + early, first + early + second + mid, first + early + second + 2 * mid]);
    const a = first * kept["backbone.first.conv.weight"]! + early * kept["exits.0.linear.weight"]!;
    const b = second * kept["backbone.second.conv.weight"]!;
    const wanted = [a, a + b + mid * kept["exits.1.weight"]!];
    wanted.forEach((macs, exit) => {
      expect(left.exits[exit]).toBeCloseTo(macs, 6);
    });
  });

  it("gives the same for the same seed, and another order of samples for another", async () => {
    const [a, b, c] = [await prune(), await prune(), await prune({ random: generator(6) })];
    expect(a).toEqual(b);
    expect(a.params).not.toEqual(c.params);
  });

  it("rewinds what is left to early parameters before fine-tuning", async () => {
    const early = network.init(generator(9));
    const still = { ...fineTuning, optimiser: optimisers.sgd(), learningRate: 0 };
    const { params, masks } = await prune({ rewindTo: early, fineTuning: still, rounds: 1 });
    const wanted = flat(applyMasks(early, masks));
    for (const path of Object.keys(masks)) expect(flat(params)[path]!.data, path).toEqual(wanted[path]!.data);
  });

  it("distils from the dense network's last exit, in every round; with weight 0 not at all, bit for bit", async () => {
    const { epochs, batchSize, learningRate } = fineTuning;
    const taught = (weight: number) => ({ ...fineTuning, distillation: { weight, temperature: 3 } });
    const plain = await prune();
    expect(await prune({ fineTuning: taught(0) })).toEqual(plain);
    const { params, masks } = await prune({ fineTuning: taught(2) });
    // The second round by hand: its own teacher is the network from before the first.
    const first = await prune({ fineTuning: taught(2), onRound: () => "stop" });
    const random = generator(5);
    random.split();
    const own = random.split();
    const [scoring, ties, tuning] = [own.split(), own.split(), own.split()];
    const weights = prunableWeights("test", network, first.params, "all");
    const scores = await criteria.magnitude().score({ weights, random: scoring } as never);
    const next = nextMasks(scores, first.masks, { fraction: 0.3, random: ties });
    expect(next.masks).toEqual(masks);
    const byHand = await trainExits(device, network, data, {
      ...{ epochs, batchSize, learningRate, distillation: taught(2).distillation },
      optimiser: maskedOptimiser(fineTuning.optimiser, masks),
      trains: "all",
      params: applyMasks(first.params, masks),
      teacher: dense,
      generator: tuning,
    });
    expect(params).toEqual(byHand.params);
  });

  it("prunes by any criterion, and by layer", async () => {
    const { rounds } = await prune({ budget: "perLayer", criterion: criteria.random(), rounds: 1 });
    for (const { zeros, size } of rounds[0]!.layers) expect(Math.abs(zeros - 0.3 * size)).toBeLessThanOrEqual(0.5);
    for (const name of ["taylor", "movement", "activation"] as const) {
      const found = await prune({ criterion: criteria[name]({ batchSize: 8, batches: 2 }), rounds: 1 });
      expect(found.rounds[0]!.sparsity, name).toBeCloseTo(0.3, 2);
    }
  });

  it("keeps what evaluate says", async () => {
    const { rounds } = await prune({ rounds: 1, evaluate: ({ exits }) => ({ heads: exits.length }) });
    expect(rounds[0]!.evaluation).toEqual({ heads: 2 });
  });
});

describe("a run in a folder", () => {
  it("goes on with the same bits after rounds and in the middle of one", async () => {
    const whole = await prune({ order: "sequential" });
    const path = join(folder, "interrupted");
    const abort = new AbortController();
    const cut = await prune({
      order: "sequential",
      folder: path,
      signal: abort.signal,
      fineTuning: {
        ...fineTuning,
        // The schedule is asked before every step: it ends the run within the third round.
        learningRate: (() => {
          let asked = 0;
          return () => {
            if (++asked === 8) abort.abort();
            return 0.02;
          };
        })(),
      },
    });
    expect([cut.stopped, cut.rounds.length]).toEqual(["signal", 2]);
    expect(readdirSync(path).sort()).toEqual(["round-000.safetensors", "round-001.safetensors", "round-002-training"]);
    const resumed = await prune({ order: "sequential", folder: path });
    expect(resumed).toEqual(whole);
    expect(readdirSync(path)).not.toContain("round-002-training");
  });

  it("whose fine-tuning diverges says in which step, and leaves no half round", async () => {
    const path = join(folder, "diverged");
    const wild = { ...fineTuning, learningRate: (step: number) => (step < 1 ? 0.02 : 1e30) };
    await expect(prune({ folder: path, fineTuning: wild })).rejects.toThrow(
      /loss.*(NaN|infinite|Infinity).*step|step.*loss/is,
    );
    expect(readdirSync(path).filter((name) => name.endsWith(".safetensors"))).toEqual([]);
    expect(await prune({ folder: join(folder, "diverged-anew") })).toEqual(await prune());
  });

  it("refuses a round whose record is none, by its file", async () => {
    const path = join(folder, "damaged");
    await prune({ folder: path, rounds: 1 });
    const file = join(path, "round-000.safetensors");
    const { tensors, metadata } = await readSafetensorsFile(file);
    for (const [record, actual] of [
      ["{", "JSON"],
      ["null", "expected object"],
      [JSON.stringify({ ...JSON.parse(metadata.record!), sparsity: 2 }), "sparsity: Too big"],
    ] as const) {
      await writeSafetensorsFile(file, tensors, { ...metadata, record });
      await expect(prune({ folder: path, rounds: 1 })).rejects.toThrow(
        new RegExp(`"${file}" must hold the record of a round; got .*${actual}`),
      );
    }
  });

  it("refuses rounds of another run", async () => {
    const path = join(folder, "other");
    await prune({ folder: path, rounds: 1 });
    await expect(prune({ folder: path, rounds: 1, fraction: 0.4 })).rejects.toThrow(/must be of the same run/);
  });
});

/** The first weight of each tensor is no number. */
const broken = (exit: ExitParameters["exits"][number]): ExitParameters["exits"][number] => {
  const spoilt = Object.entries(layers.flattenParameters(exit)).map(([path, value]) => {
    const data = Float32Array.from(value.data as Float32Array);
    data[0] = Number.NaN;
    return [path, tensor("float32", value.shape, data)];
  });
  return layers.unflattenParameters(Object.fromEntries(spoilt), exit);
};

describe("degenerate settings", () => {
  it("a share that rounds to no weight changes no mask and is fine-tuning alone, bit for bit", async () => {
    const { masks, params, rounds } = await prune({ fraction: 1e-6, rounds: 1 });
    for (const mask of Object.values(masks)) expect(mask.data.every((bit) => bit === 1)).toBe(true);
    expect(rounds[0]!.sparsity).toBe(0);
    const own = generator(5).split();
    const [, , tuning] = [own.split(), own.split(), own.split()];
    const { epochs, batchSize, learningRate, optimiser } = fineTuning;
    const options = { epochs, batchSize, learningRate, optimiser, trains: "all", params: dense } as const;
    expect(params).toEqual((await trainExits(device, network, data, { ...options, generator: tuning })).params);
  });

  it("with all exits off a pruned network in stages answers as its backbone does", async () => {
    const { params } = await prune({ rounds: 1 });
    const { x } = (await data.batch(
      Int32Array.from({ length: 48 }, (_, at) => at),
      generator(1),
    )) as { x: Tensor };
    const staged = await openStaged(device, toExitModel(network, params));
    const plain = await device.load(network.backbone.toModel(params.backbone));
    const { leftAt, predictions, confidences } = await staged.classify(x, [NEVER, NEVER]);
    const { [network.backbone.output]: logits } = (await plain.run({ x })) as Record<string, Tensor<"float32">>;
    expect([...new Set(leftAt)]).toEqual([2]);
    predictions.forEach((prediction, row) => {
      const own = [...logits!.data.subarray(3 * row, 3 * row + 3)];
      expect(prediction).toBe(own.indexOf(Math.max(...own)));
      const share = 1 / own.reduce((sum, one) => sum + Math.exp(one - own[prediction]!), 0);
      expect(confidences[row]).toBeCloseTo(share, 5);
    });
    await staged.release();
    await plain.release();
  });
});

describe("what is refused", () => {
  it.each<[string, Partial<PruneNetworkOptions>, RegExp]>([
    ["a fraction of 1", { fraction: 1 }, /"fraction"/],
    ["a fraction of 0", { fraction: 0 }, /"fraction"/],
    ["a fraction that is no number", { fraction: Number.NaN }, /"fraction"/],
    [
      "weights that are not finite",
      { params: { ...dense, exits: dense.exits.map((exit, j) => (j === 1 ? broken(exit) : exit)) } },
      /weights of "exits.1.weight" must be finite; got NaN at element 0/,
    ],
    ["no rounds", { rounds: 0 }, /"rounds"/],
    ["another order", { order: "backwards" as never }, /"order"/],
    ["an unknown option", { ratio: 0.5 } as never, /unknown option "ratio"/],
    ["a criterion without a score", { criterion: {} as never }, /criterion must be \{ name, score \}/],
    [
      "parameters of another network",
      { params: { backbone: {}, exits: [] } },
      /parameters must be those|must have weights/,
    ],
  ])("%s", async (_, changed, message) => {
    await expect(prune(changed)).rejects.toThrow(message);
  });

  it("no network", async () => {
    const nothing = pruneNetwork(device, undefined as never, data, undefined as never);
    await expect(nothing).rejects.toThrow(/prune-ee.pruneNetwork: an exit network is needed; got undefined/);
  });

  it("masks of another network", () => {
    const { masks } = {
      masks: { "backbone.nothing": { dtype: "bool", shape: [1], data: new Uint8Array(1) } as const },
    };
    expect(() => applyMasks(dense, masks)).toThrow(/"backbone.nothing"; got no such parameter/);
    expect(() => sparsityOf(dense, ["nothing"])).toThrow(/paths must be of the parameters; got "nothing"/);
  });
});
