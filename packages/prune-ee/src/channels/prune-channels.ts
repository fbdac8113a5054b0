import { channelBlocks, type Device, InputError, type Model, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { LayerTimes } from "../times/layer-times.ts";
import { graphOf } from "./graph.ts";
import { importanceOf, type WeightScores } from "./importance.ts";
import { shapesOf } from "./probe.ts";
import { type Dependencies, propagate } from "./propagate.ts";
import { removeClasses } from "./remove.ts";
import { classesToRemove } from "./select.ts";
import { classesForTime } from "./select-by-time.ts";

/** Options of {@link pruneChannels}. */
export interface PruneChannelsOptions {
  /** Share of every layer's channels that stays, in (0, 1]; rounded up to whole blocks. Either this or `time`. */
  readonly keep?: number;
  /**
   * The network should take this share, in (0, 1], of the time that its layers take by a table measured on the machine: channels go where
   * they save the most time for the least norm.
   */
  readonly time?: WantedTime;
  /**
   * Widths are multiples of this, or the full width. Default: the block that `time.table` measured; else the one that ONNX Runtime's
   * convolutions use on this processor, 16 with AVX-512, else mostly 8, and 16 where there is none. Other widths are slower than
   * the next multiple.
   */
  readonly multipleOf?: number;
  /** For each initializer, by name, one score an element, higher stays longer; see `scoreChannels`. Default: the element's square. */
  readonly scores?: WeightScores;
  /** Shape of one sample by input, without the batch. Default: what the model states. */
  readonly sampleShapes?: Readonly<Record<string, readonly number[]>>;
}

/** A wanted time; see {@link PruneChannelsOptions.time}. */
export interface WantedTime {
  readonly table: LayerTimes;
  /** Of the time of all layers in the table's sum, in (0, 1]. */
  readonly share: number;
  /** In which the network will run. Default 32. */
  readonly bits?: 32 | 8;
}

/** A layer's channels, before and after. */
export interface LayerWidth {
  /** Name of the layer's weight. */
  readonly weight: string;
  readonly before: number;
  readonly after: number;
  /** Why channels had to stay that would have gone; undefined where none had to. */
  readonly fixedBy?: string;
}

/** What {@link pruneChannels} gives. */
export interface PrunedChannels {
  /** A plain network with smaller weights: same inputs and outputs, same names. */
  readonly model: Model;
  readonly layers: readonly LayerWidth[];
  /** With `time`: milliseconds of a batch in all layers, by the table. */
  readonly milliseconds?: { readonly before: number; readonly after: number };
  /** What a person should know of: layers that were left one block where less was asked for. */
  readonly notes: readonly string[];
}

const caller = "prune-ee.pruneChannels";
const places = z.array(z.number().positive()).readonly();
const row = z.strictObject({
  kind: z.enum(["conv", "depthwise", "linear"]),
  kernel: places,
  stride: places,
  size: places,
  in: z.int().min(1),
  out: z.int().min(1),
  float: z.number().positive(),
  eightBits: z.number().positive().optional(),
});
const schema = z.strictObject({
  keep: z.number().gt(0).max(1).optional(),
  time: z
    .strictObject({
      table: z.strictObject({
        batch: z.int().min(1),
        block: z.int().min(1),
        widths: z.array(row).readonly().optional(),
        rows: z.array(row).readonly(),
      }),
      share: z.number().gt(0).max(1),
      bits: z.union([z.literal(32), z.literal(8)]).default(32),
    })
    .optional(),
  multipleOf: z.int().min(1).optional(),
  scores: z.record(z.string(), z.instanceof(Float32Array)).optional(),
  sampleShapes: z.record(z.string(), z.array(z.int().min(1)).readonly()).optional(),
});

/**
 * Removes whole channels of a network, the least important ones of every layer, so that what is left is faster on any runtime. Which
 * channels hang together is found in the graph: through sums and products, concatenations, depthwise convolutions, normalisations,
 * zero padding of channels, flattening and linear layers; heads of attention go whole, with their queries, keys and values, and so do
 * hidden features of MLPs. An operator without a rule, and the network's outputs, keep their channels; `fixedBy`
 * says which.
 *
 * The result equals the network with all weights of the removed channels set to 0, where activations of 0 are 0.
 *
 * @param model Any ONNX model with its weights inside, e.g. an exit network's (`toExitModel(…).model`): heads are pruned with it.
 * @throws InputError on an option that is unknown or out of range, a weight that is not finite or not float32, scores that do not fit,
 * a model that does not run, a table without its layers, or a time that no widths reach.
 * Source: dependency groups after G. Fang et al., "DepGraph: Towards Any Structural Pruning", 2023 [D].
 * Differs: whole blocks only (`multipleOf`), as other widths cost time [M].
 * @example
 * ```ts
 * import { openDevice, readModelFile } from "@exitkit/core-gpu";
 * import { pruneChannels } from "@exitkit/prune-ee";
 * const device = await openDevice("cpu");
 * const model = await readModelFile("network.onnx");
 * const { layers } = await pruneChannels(device, model, { keep: 0.5, multipleOf: 4 });
 * console.assert(layers.some(({ before, after }) => after < before));
 * await device.close();
 * ```
 */
export async function pruneChannels(
  device: Device,
  model: Model,
  options: PruneChannelsOptions,
): Promise<PrunedChannels> {
  const { scores, sampleShapes = {}, keep, time, ...given } = parseOptions(caller, schema, options);
  if ((keep === undefined) === (time === undefined)) {
    const actual = keep === undefined ? "neither" : "both";
    throw new InputError(caller, "either keep or time must be given", actual, "Pass e.g. { keep: 0.5 }.");
  }
  if (typeof device?.load !== "function") {
    throw new InputError(caller, "a device is needed", typeof device, 'Pass await openDevice("cpu").');
  }
  const dependencies = propagate(graphOf(caller, model, await shapesOf(device, model, sampleShapes)));
  const importance = importanceOf(caller, model, dependencies, scores);
  const multipleOf = given.multipleOf ?? time?.table.block ?? (await channelBlocks()) ?? 16;
  const chosen =
    time === undefined
      ? { removed: classesToRemove(dependencies, importance, { keep: keep!, multipleOf }) }
      : classesForTime(caller, dependencies, importance, { ...(time as Required<WantedTime>), multipleOf });
  const { removed, ...milliseconds } = chosen;
  const layers = dependencies.layers.map((layer) => widthOf(dependencies, layer, removed));
  return {
    model: removeClasses(caller, model, dependencies, removed),
    layers,
    ...milliseconds,
    notes: layers.flatMap(({ weight, before, after }) =>
      keep !== undefined && after < before && keep * before < multipleOf
        ? [`"${weight}" kept ${after} of its ${before} channels, a whole block, where ${keep * before} were asked for`]
        : [],
    ),
  };
}

function widthOf(
  { labels }: Dependencies,
  { weight, labels: own }: Dependencies["layers"][number],
  removed: ReadonlySet<number>,
): LayerWidth {
  const after = own.reduce((sum, label) => sum + (removed.has(labels.classOf(label)) ? 0 : 1), 0);
  const reason = [...own].map(labels.fixedBy).find((why) => why !== undefined);
  return { weight, before: own.length, after, ...(reason === undefined ? {} : { fixedBy: reason }) };
}
