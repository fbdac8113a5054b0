import { type Device, describeModel, InputError, type Model, parseOptions, probeShapes } from "@exitkit/core-gpu";
import { z } from "zod";
import { graphOf } from "./graph.ts";
import { importanceOf, type WeightScores } from "./importance.ts";
import { type Dependencies, propagate } from "./propagate.ts";
import { removeClasses } from "./remove.ts";
import { classesToRemove } from "./select.ts";

/** Options of {@link pruneChannels}. */
export interface PruneChannelsOptions {
  /** Share of every layer's channels that stays, in (0, 1]; rounded up to whole blocks. */
  readonly keep: number;
  /**
   * Widths are multiples of this, or the full width. Default 16, the block of ONNX Runtime's convolutions with AVX-512: other
   * widths are slower than the next multiple. 8 fits most other processors.
   */
  readonly multipleOf?: number;
  /** For each initializer, by name, one score an element, higher stays longer. Default: the element's square. */
  readonly scores?: WeightScores;
  /** Shape of one sample by input, without the batch. Default: what the model states. */
  readonly sampleShapes?: Readonly<Record<string, readonly number[]>>;
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
}

const caller = "prune-ee.pruneChannels";
const schema = z.strictObject({
  keep: z.number().gt(0).max(1),
  multipleOf: z.int().min(1).default(16),
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
 * or a model that does not run.
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
  const { scores, sampleShapes = {}, ...selection } = parseOptions(caller, schema, options);
  if (typeof device?.load !== "function") {
    throw new InputError(caller, "a device is needed", typeof device, 'Pass await openDevice("cpu").');
  }
  const dependencies = propagate(graphOf(caller, model, await shapesOf(device, model, sampleShapes)));
  const importance = importanceOf(caller, model, dependencies, scores);
  const removed = classesToRemove(dependencies, importance, selection);
  return {
    model: removeClasses(caller, model, dependencies, removed),
    layers: dependencies.layers.map((layer) => widthOf(dependencies, layer, removed)),
  };
}

/** Shapes of all tensors for two samples, so that a batch of 1 is not taken for a head. */
export async function shapesOf(
  device: Device,
  model: Model,
  sampleShapes: Readonly<Record<string, readonly number[]>>,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const inputs = describeModel(model).inputs.map(({ name, shape }) => {
    const batch = typeof shape[0] === "number" ? shape[0] : 2;
    const sample = sampleShapes[name] ?? shape.slice(1).map((side) => (typeof side === "number" ? side : 1));
    return [name, [batch, ...sample]];
  });
  const unknown = Object.keys(sampleShapes).filter((name) => !inputs.some(([known]) => known === name));
  for (const name of unknown) inputs.push([name, [2, ...sampleShapes[name]!]]);
  return probeShapes(device, model, Object.fromEntries(inputs));
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
