import {
  countMacs,
  type Device,
  generator,
  type Model,
  probeShapes,
  proposeCuts,
  type Tensor,
} from "@exitkit/core-gpu";
import { exitNetwork, heads, importBackbone, trainExits } from "@exitkit/early-exit";
import { type LayerTimes, measureLayerTimes, pruneChannels } from "@exitkit/prune-ee";
import { type Batch, batches, oneBatch } from "../../data/batches.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { argMaxRows, countRight } from "../../measuring/answers.ts";
import { quantile, timeInterleaved } from "../../measuring/timing.ts";
import type { RunFolder } from "../../runs/run.ts";
import { pretrained } from "../../zoo/resnet.ts";
import { FINE_TUNING, type Material } from "./material.ts";
import { meanOver } from "./orders.ts";
import type { ChannelRow } from "./schema.ts";

/** Pictures of a timed batch. */
const BATCH = 64;

const PLAN = { budget: 2500, leastRounds: 7, mostRounds: 101 };

/** Networks of the zoo that somebody might take instead of the largest. */
const SMALLER = ["resnet20", "resnet32", "resnet44"] as const;

/**
 * A network with fewer channels, fine-tuned, beside itself and the smaller plain networks: accuracy, MACs, and the time of a batch,
 * all networks in turn.
 */
export async function channelRows(
  { device, settings, train, test }: Material,
  seed: number,
  table: LayerTimes,
  folder: RunFolder,
  advance: () => void,
): Promise<readonly ChannelRow[]> {
  const name = settings.channelNetwork;
  const { model } = await pretrained(name, { folded: false });
  const entries: Entry[] = [{ network: name, keep: 1, model }];
  for (const smaller of name === "resnet56" ? SMALLER : []) {
    entries.push({ network: smaller, keep: 1, model: (await pretrained(smaller, { folded: false })).model });
  }
  const add = async (key: string, smaller: Model, entry: Omit<Entry, "model">) => {
    const weights = await folder.step(`channels-${key}-${seed}`, () =>
      fineTuned(device, smaller, train, settings.channelEpochs, seed),
    );
    entries.push({ ...entry, model: backboneOf(smaller).toModel(weights) });
    advance();
  };
  for (const keep of settings.keep) {
    const { model: smaller } = await pruneChannels(device, model, { keep });
    await add(`${keep}`, smaller, { network: `${name} ${keep}`, keep });
  }
  for (const share of settings.times) {
    const { model: smaller, layers } = await pruneChannels(device, model, { time: { table, share } });
    const [before, after] = [meanOver(layers, "before"), meanOver(layers, "after")];
    await add(`time-${share}`, smaller, { network: `${name} for ${share}`, keep: after / before, wanted: share });
  }
  return folder.step(`measured-${seed}`, () => measured(device, entries, test, seed));
}

/** The machine's milliseconds for the layers of the network whose channels are removed. */
export async function layerTimes({ device, settings }: Material): Promise<LayerTimes> {
  const { model } = await pretrained(settings.channelNetwork);
  return measureLayerTimes(device, model, { batch: BATCH, ...settings.table });
}

/** A network beside the others. */
interface Entry {
  readonly network: string;
  readonly keep: number;
  readonly wanted?: number;
  readonly model: Model;
}

/** A network to train as it is: one head that no loss counts reads it, and is thrown away. */
function backboneOf(model: Model) {
  return importBackbone(model, { taps: [proposeCuts(model)[0]!] });
}

async function fineTuned(device: Device, model: Model, train: Material["train"], epochs: number, seed: number) {
  const backbone = backboneOf(model);
  const network = exitNetwork(backbone, [{ tap: Object.keys(backbone.taps)[0]!, head: heads.linear() }]);
  const { params } = await trainExits(device, network, train, {
    ...FINE_TUNING,
    epochs,
    trains: "all",
    lossWeights: () => [0, 1],
    generator: generator(seed),
  });
  return params.backbone;
}

async function measured(
  device: Device,
  entries: readonly Entry[],
  test: Pictures,
  seed: number,
): Promise<readonly ChannelRow[]> {
  const batch = oneBatch(slicePictures(test, 0, BATCH));
  const opened = await Promise.all(
    entries.map(async (entry) => ({ ...entry, session: await device.load(entry.model) })),
  );
  try {
    const times = await timeInterleaved(
      opened.map(({ network, session }) => ({ name: network, run: () => session.run({ input: batch.x }) })),
      PLAN,
    );
    const macs = await Promise.all(
      opened.map(async ({ model }) => countMacs(model, await probeShapes(device, model)).total),
    );
    const full = times.get(opened[0]!.network)!;
    const rows: ChannelRow[] = [];
    for (const [at, { network, keep, wanted, session }] of opened.entries()) {
      const own = times.get(network)!;
      const ratios = own.times.map((time, round) => time / full.times[round]!);
      rows.push({
        network,
        keep,
        ...(wanted === undefined ? {} : { wanted }),
        seed,
        accuracy: await accuracyOf((x) => session.run({ input: x }), batches(test, 256)),
        macsFraction: macs[at]! / macs[0]!,
        wallFraction: quantile(ratios, 0.5),
        batch: BATCH,
        runs: ratios.length,
      });
    }
    return rows;
  } finally {
    for (const { session } of opened) await session.release();
  }
}

async function accuracyOf(
  run: (x: Tensor) => Promise<Readonly<Record<string, Tensor>>>,
  pictures: AsyncIterable<Batch>,
): Promise<number> {
  let right = 0;
  let n = 0;
  for await (const { x, y } of pictures) {
    const { logits } = (await run(x)) as { logits: Tensor<"float32"> };
    right += countRight(argMaxRows(logits.data, logits.shape[1]!), y);
    n += y.length;
  }
  return right / n;
}
