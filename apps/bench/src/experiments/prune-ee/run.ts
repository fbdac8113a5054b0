import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { generator, optimisers, type training } from "@exitkit/core-gpu";
import {
  countExitCosts,
  type ExitCosts,
  type ExitNetwork,
  type ExitParameters,
  recordExits,
  replay,
  toExitModel,
  trainExits,
} from "@exitkit/early-exit";
import { criteria, type LayerTimes, type PruningRound, placeName, pruneNetwork } from "@exitkit/prune-ee";
import { augmentedPictures } from "../../data/augment.ts";
import { batches } from "../../data/batches.ts";
import { type Dataset, dataOf } from "../../data/directory.ts";
import { slicePictures } from "../../data/pictures.ts";
import { accuracyAt } from "../../measuring/answers.ts";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import type { Context } from "../experiment.ts";
import { channelRows, layerTimes } from "./channels.ts";
import { claimsOf } from "./claims.ts";
import { FINE_TUNING, type Material } from "./material.ts";
import { exitResnet } from "./network.ts";
import type { ChannelRow, CurveRow, ExitRow, LayerRow, Order, PruneResult } from "./schema.ts";
import { type Settings, settingsOf } from "./settings.ts";

/** Thresholds of a curve, on the largest probability. */
const THRESHOLDS = [0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999, 1];

/** What came of one order with one seed. */
interface Outcome {
  readonly rows: readonly ExitRow[];
  readonly curves: readonly CurveRow[];
  readonly layers: readonly LayerRow[];
}

/** Measures. */
export async function run(context: Context, preset: Settings) {
  const { extras, run: folder, progress } = context;
  const settings = settingsOf(preset, extras);
  const minutes = typeof extras.minutes === "number" ? extras.minutes : Number.POSITIVE_INFINITY;
  const begun = performance.now();
  const data = await context.data.cifar10();
  const seeds = seedsOf(context, settings.seeds);
  return onDevice(context, async (device) => {
    const material: Material = { device, settings, test: data.test, train: trainingData(data, settings.pictures) };
    const network = await exitResnet(device, settings.network);
    const dense = await countExitCosts(device, toExitModel(network, network.init(generator(1))));
    const outcomes: Outcome[] = [];
    const channels: ChannelRow[] = [];
    const orders = ["dense", ...settings.orders] as const;
    const channelSeeds = seeds.slice(0, settings.channelSeeds);
    const stage = progress.stage(
      "pruning",
      seeds.length * orders.length + channelSeeds.length * (settings.keep.length + settings.times.length),
      "networks",
    );
    const table = await folder.step("layer-times", () => layerTimes(material));
    for (const seed of channelSeeds) {
      channels.push(...(await channelRows(material, seed, table, folder, () => stage.advance(1))));
    }
    const done: number[] = [];
    const first = performance.now();
    for (const seed of seeds) {
      // A seed is begun where it is likely to end in time, and then finished: every order has the same seeds.
      const now = performance.now();
      const expected = done.length === 0 ? 0 : (0.9 * (now - first)) / done.length;
      if (now - begun + expected > minutes * 60_000) break;
      const exits = await folder.step(`exits-${seed}`, () => trainedExits(material, network, seed));
      const params = { backbone: network.backbone.params, exits };
      for (const order of orders) {
        const outcome = await folder.step(`${order}-${seed}`, () =>
          order === "dense"
            ? judged(material, network, dense, params, { order, seed, rounds: [] })
            : pruned(material, network, dense, params, { order, seed, path: join(folder.path, "checkpoints") }),
        );
        outcomes.push(outcome);
        stage.advance(1);
      }
      done.push(seed);
    }
    stage.done();
    const found = {
      rows: outcomes.flatMap(({ rows }) => rows),
      curves: outcomes.flatMap(({ curves }) => curves),
      layers: outcomes.flatMap(({ layers }) => layers),
    };
    const { network: name, pictures, rounds, fraction, epochs, channelEpochs } = settings;
    return {
      ranOn: device.kind,
      data: dataOf(data),
      ...{ network: name, pictures, rounds, fraction, epochs, channelEpochs },
      ...found,
      channels,
      ...timesOf(table),
      leftOut: seeds.length - done.length,
      claims: [...claimsOf(found)],
    };
  });
}

/** A table of times as the result holds it. */
function timesOf(table: LayerTimes): Pick<PruneResult, "block" | "layerTimes" | "widths"> {
  const widest = table.widths!.at(-1)!;
  return {
    block: table.block,
    layerTimes: table.rows.map(({ in: from, out, float, eightBits, ...place }) => ({
      ...{ place: placeName(place), in: from, out },
      ...{ milliseconds: float, milliseconds8: eightBits! },
    })),
    widths: table.widths!.map(({ out, float, eightBits }) => ({
      width: out,
      macsFraction: (out / widest.out) ** 2,
      wallFraction: float / widest.float,
      wallFraction8: eightBits! / widest.float,
    })),
  };
}

function trainingData({ train, normalisation, augmentation }: Dataset, pictures: number): training.Dataset {
  return augmentedPictures(slicePictures(train, 0, Math.min(pictures, train.n)), normalisation, augmentation);
}

/** The exits alone, on the frozen network, as Shallow-Deep Networks trains them, but in fewer and larger steps. */
async function trainedExits({ device, settings, train }: Material, network: ExitNetwork, seed: number) {
  const { params } = await trainExits(device, network, train, {
    trains: "exits",
    batchSize: FINE_TUNING.batchSize,
    epochs: settings.exitEpochs,
    generator: generator(seed),
    optimiser: optimisers.adam(),
    learningRate: 0.003,
  });
  return params.exits;
}

async function pruned(
  material: Material,
  network: ExitNetwork,
  dense: ExitCosts,
  trained: ExitParameters,
  { order, seed, path }: { readonly order: Exclude<Order, "dense">; readonly seed: number; readonly path: string },
): Promise<Outcome> {
  const { device, settings, train } = material;
  const { rounds, fraction, epochs } = settings;
  await mkdir(path, { recursive: true });
  // In the paper's second approach the exits are put on when the backbone is pruned, and have not learned anything before.
  const params = order === "sequential" ? { ...trained, exits: network.init(generator(seed)).exits } : trained;
  const found = await pruneNetwork(device, network, train, {
    params,
    order: order === "random" ? "together" : order,
    rounds,
    fraction,
    fineTuning: { ...FINE_TUNING, epochs },
    random: generator(seed),
    folder: join(path, `${order}-${seed}`),
    ...(order === "random" ? { criterion: criteria.random() } : {}),
  });
  return judged(material, network, dense, found.params, { order, seed, rounds: found.rounds });
}

/** Accuracy and cost of every exit, the curve of one threshold, and the layers' sparsities. */
async function judged(
  { device, settings, test }: Material,
  network: ExitNetwork,
  dense: ExitCosts,
  params: ExitParameters,
  { order, seed, rounds }: { readonly order: Order; readonly seed: number; readonly rounds: readonly PruningRound[] },
): Promise<Outcome> {
  const model = toExitModel(network, params);
  const record = await recordExits(device, model, batches(test, 256));
  const costs = await countExitCosts(device, model, { skipZeros: true });
  const last = rounds.at(-1);
  const rows = record.exits.map((exit, j) => ({
    network: settings.network,
    order,
    seed,
    round: rounds.length,
    sparsity: last?.sparsity ?? 0,
    exit,
    accuracy: accuracyAt(record, j),
    macsFraction: costs.exits[j]! / dense.full,
  }));
  const curves = THRESHOLDS.map((threshold) => {
    const point = replay(record, Array<number>(record.exits.length - 1).fill(threshold), costs);
    return { order, seed, threshold, accuracy: point.accuracy, macsFraction: point.meanCost / dense.full };
  });
  const layers = (last?.layers ?? []).map(({ path, size, sparsity }) => ({ order, seed, path, size, sparsity }));
  return { rows, curves, layers };
}
