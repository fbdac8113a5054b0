import type { Device } from "../device/device.ts";
import { InputError } from "../errors.ts";
import { indexModel } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import { describeModel } from "../onnx/model.ts";
import { quoted } from "../onnx/names.ts";
import { addTaps } from "../onnx/taps.ts";
import type { Tensor } from "../tensor.ts";
import { addValues, emptyHistogram, type Histogram } from "./histogram.ts";
import { activationsOf, type QuantisationPlan } from "./plan.ts";

/** Inputs of a network by name, for a batch. */
export type Feeds = Readonly<Record<string, Tensor>>;

/** What calibration data showed. */
export interface Calibration {
  /** Of every tensor that is rounded or shares a scale. */
  readonly histograms: ReadonlyMap<string, Histogram>;
  /** Means of every channel of the weighted nodes' inputs; empty where they were not asked for. */
  readonly means: ReadonlyMap<string, Float64Array>;
  /** The first batch. */
  readonly first: Feeds;
}

interface Sums {
  readonly axis: number;
  sums: Float64Array;
  count: number;
}

/** Runs the network on the calibration data and counts the values of the plan's tensors. One batch is held at a time, and the first. */
export async function collect(
  caller: string,
  device: Device,
  model: Model,
  plan: QuantisationPlan,
  batches: Iterable<Feeds> | AsyncIterable<Feeds>,
  withMeans: boolean,
): Promise<Calibration> {
  const { inputs, graph } = indexModel(caller, model);
  const tensors = [...plan.rounded, ...plan.shared.keys()];
  const histograms = new Map(tensors.map((name) => [name, emptyHistogram()]));
  const sums = new Map<string, Sums>();
  if (withMeans) {
    for (const { at, kind } of plan.nodes) {
      const node = graph.node[at]!;
      if (kind === "weighted") {
        const axis = node.opType === "Conv" ? 1 : -1;
        sums.set(activationsOf(node)[0]!, { axis, sums: new Float64Array(0), count: 0 });
      }
    }
  }
  const inner = tensors.filter((name) => !inputs.has(name));
  const tapped = addTaps(model, inner);
  const session = await device.load(tapped);
  let first: Feeds | undefined;
  let seen = 0;
  try {
    for await (const feeds of batches) {
      // Whoever makes the batches may use their memory again.
      first ??= Object.fromEntries(
        Object.entries(feeds).map(([name, value]) => [name, { ...value, data: value.data.slice() } as Tensor]),
      );
      // A network without anything to round has only its outputs to give.
      const made = await session.run(feeds, inner.length === 0 ? {} : { outputs: inner });
      for (const [name, histogram] of histograms) {
        const value = (inputs.has(name) ? feeds[name] : made[name])!;
        const strange = addValues(histogram, value.data as Float32Array);
        if (strange !== undefined) refuseStrange(caller, name, strange, seen);
        const total = sums.get(name);
        if (total !== undefined) addToSums(total, value);
      }
      seen++;
    }
  } finally {
    await session.release();
  }
  if (first === undefined) {
    const names = describeModel(model).inputs.map(({ name }) => quoted(name));
    const fix = `Each batch is a record of the inputs: { ${names.join(", ")}: tensor }.`;
    throw new InputError(caller, "calibration must hold at least one batch", "none", fix);
  }
  const means = new Map([...sums].map(([name, { sums, count }]) => [name, sums.map((sum) => sum / count)]));
  return { histograms, means, first };
}

function refuseStrange(caller: string, name: string, value: number, batch: number): never {
  throw new InputError(
    caller,
    "calibration must give finite numbers everywhere",
    `${value} in tensor ${quoted(name)} at batch ${batch}`,
    "Look for the sample that makes it, or for weights that are not finite.",
  );
}

function addToSums(total: Sums, { data, shape }: Tensor): void {
  const axis = total.axis < 0 ? shape.length + total.axis : total.axis;
  const channels = shape[axis]!;
  const inner = shape.slice(axis + 1).reduce((size, dimension) => size * dimension, 1);
  if (total.sums.length === 0) total.sums = new Float64Array(channels);
  const values = data as Float32Array;
  for (let start = 0; start < values.length; start += inner) {
    let sum = 0;
    for (let at = start; at < start + inner; at++) sum += values[at]!;
    const channel = (start / inner) % channels;
    total.sums[channel] = total.sums[channel]! + sum;
  }
  total.count += values.length / channels;
}
