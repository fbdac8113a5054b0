import {
  addTaps,
  attachModel,
  type Device,
  InputError,
  type Model,
  openDevice,
  ops,
  parseOptions,
  programToModel,
  type Session,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { type Batches, checkBatch } from "./batches.ts";
import type { Metric } from "./closedForm.ts";
import { defaultTaps } from "./defaultTaps.ts";
import { type FeatureKind, type FeatureMap, featureMap, features } from "./features.ts";
import { inspectNetwork, type Network, sampleShape } from "./network.ts";
import type { ClassStatistics } from "./statistics.ts";

/** What a pass sums up. */
interface PassSettings {
  readonly classes: number;
  readonly taps: readonly string[];
  readonly features: FeatureKind;
  /** Keep the Gram matrices too: d² numbers an exit. */
  readonly gram: boolean;
  readonly onProgress?: ((pictures: number) => void) | undefined;
}

/** Options of {@link accumulateStatistics}. */
export interface AccumulateOptions {
  /** k: number of classes; the network's output is [n, k]. */
  readonly classes: number;
  /** What the statistics are for: shared covariance needs Gram matrices too. Default `sharedCovariance`. */
  readonly metric?: Metric;
  /** What exits read. Default `moments` for shared covariance, `full` for Euclidean. */
  readonly features?: FeatureKind;
  /** Tensors the exits read, in order; name the network's output too if the last exit is to answer by nearest mean. Default: see `fit`. */
  readonly exits?: readonly string[];
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Called after every batch with the number of pictures so far. */
  readonly onProgress?: (pictures: number) => void;
}

const schema = z.strictObject({
  classes: z.int().min(2),
  metric: z.enum(["sharedCovariance", "euclidean"]).default("sharedCovariance"),
  features: z.enum(["moments", "pooled", "full"]).optional(),
  exits: z.array(z.string()).min(1).readonly().optional(),
  device: z.custom<Device>().optional(),
  onProgress: z.custom<(pictures: number) => void>((value) => typeof value === "function").optional(),
});

/**
 * One shard's part of a fit: counts, sums and Gram matrices of the features at every exit, for `mergeStatistics` and
 * `fitFromStatistics`. Memory does not grow with the number of pictures.
 *
 * @throws InputError as `fit` does.
 */
export async function accumulateStatistics(
  model: Model,
  batches: Batches,
  options: AccumulateOptions,
): Promise<ClassStatistics> {
  const caller = "e2cm.accumulateStatistics";
  const { classes, metric, exits, onProgress, ...checked } = parseOptions(caller, schema, options);
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, classes);
    return await accumulate(caller, device, network, batches, {
      classes,
      taps: exits ?? defaultTaps(network, metric),
      features: checked.features ?? (metric === "euclidean" ? "full" : "moments"),
      gram: metric === "sharedCovariance",
      onProgress,
    });
  } finally {
    if (checked.device === undefined) await device.close();
  }
}

/**
 * One streaming pass over labelled batches: class counts, class sums, squared norms and, where asked for, Gram matrices
 * of the features at every tap. Memory does not grow with the number of pictures.
 *
 * The products Σ y xᵀ and Σ x xᵀ of one batch are matrix products inside the network's own graph (float32, as the features
 * are); batches are added up in float64.
 *
 * @throws InputError on a bad batch, features that are not finite, or no batch at all.
 */
export async function accumulate(
  caller: string,
  device: Device,
  network: Network,
  batches: Batches,
  options: PassSettings,
): Promise<ClassStatistics> {
  const { classes, taps, onProgress } = options;
  const maps = taps.map((tap) => featureMap(options.features, sampleShape(caller, network, tap)));
  const summing = summingModel(network, taps, maps, options);
  const session = await device.load(summing.model);
  const counts = new Float64Array(classes);
  const sums = taps.map((tap, index) => ({
    tap,
    d: maps[index]!.d,
    sums: new Float64Array(classes * maps[index]!.d),
    squares: 0,
    gram: options.gram ? new Float64Array(maps[index]!.d ** 2) : null,
  }));
  const buffers = summing.outputs.map(({ sums: sumsName, gram }, index) => {
    const { d } = maps[index]!;
    return {
      [sumsName]: tensor("float32", [classes, d]),
      ...(gram === null ? {} : { [gram]: tensor("float32", [d, d]) }),
    };
  });
  const into: Record<string, Tensor> = Object.assign({}, ...buffers);
  let pictures = 0;
  let index = 0;
  try {
    for await (const batch of batches) {
      checkBatch(caller, batch, classes, index);
      const n = batch.x.shape[0]!;
      const oneHot = new Float32Array(classes * n);
      for (let i = 0; i < n; i++) {
        oneHot[batch.y[i]! * n + i] = 1;
        counts[batch.y[i]!]!++;
      }
      const feeds = { [network.input]: batch.x, [summing.oneHot]: tensor("float32", [classes, n], oneHot) };
      await addBatch(caller, session, feeds, into, summing.outputs, sums, index);
      pictures += n;
      index += 1;
      onProgress?.(pictures);
    }
  } finally {
    await session.release();
  }
  if (pictures === 0)
    throw new InputError(caller, "at least one batch of training pictures", "none", "Is the stream used up?");
  for (const exit of sums) if (exit.gram !== null) mirrorUpperTriangle(exit.gram, exit.d);
  return { modelHash: network.hash, classes, features: options.features, counts, exits: sums };
}

/** Sums over pictures that grow from batch to batch. */
interface RunningSums {
  readonly tap: string;
  readonly d: number;
  readonly sums: Float64Array;
  squares: number;
  readonly gram: Float64Array | null;
}

/** Names of one exit's sums in the summing model. */
interface SummingOutputs {
  readonly sums: string;
  readonly squares: string;
  readonly gram: string | null;
}

async function addBatch(
  caller: string,
  session: Session,
  feeds: Readonly<Record<string, Tensor>>,
  into: Readonly<Record<string, Tensor>>,
  outputs: readonly SummingOutputs[],
  running: readonly RunningSums[],
  index: number,
): Promise<void> {
  const results = await session.run(feeds, { into });
  outputs.forEach((names, at) => {
    const exit = running[at]!;
    for (const square of results[names.squares]!.data as Float32Array) exit.squares += square;
    if (!Number.isFinite(exit.squares)) {
      throw new InputError(
        caller,
        "features must be finite",
        `NaN or infinity at "${exit.tap}" in batch ${index}`,
        "Check the pictures of that batch and their normalisation.",
      );
    }
    add(exit.sums, results[names.sums]!.data as Float32Array);
    if (exit.gram !== null && names.gram !== null) {
      addUpperTriangle(exit.gram, results[names.gram]!.data as Float32Array, exit.d);
    }
  });
}

function add(total: Float64Array, batch: Float32Array): void {
  for (let index = 0; index < total.length; index++) total[index]! += batch[index]!;
}

function addUpperTriangle(total: Float64Array, batch: Float32Array, d: number): void {
  for (let i = 0; i < d; i++) for (let index = i * d + i; index < (i + 1) * d; index++) total[index]! += batch[index]!;
}

function mirrorUpperTriangle(matrix: Float64Array, d: number): void {
  for (let i = 0; i < d; i++) for (let j = 0; j < i; j++) matrix[i * d + j] = matrix[j * d + i]!;
}

/** The network with the sums of a batch as its only outputs, and the classes [k, n], one-hot, as a second input. */
function summingModel(
  network: Network,
  taps: readonly string[],
  maps: readonly FeatureMap[],
  { classes, gram }: PassSettings,
): { model: Model; oneHot: string; outputs: readonly SummingOutputs[] } {
  const oneHot = "e2cm/one-hot";
  let model: Model | undefined;
  const outputs: SummingOutputs[] = [];
  maps.forEach((map, index) => {
    const program = trace(
      ({ x, classOf }) => {
        const made = features(x, map);
        const common = {
          sums: ops.matmul(classOf, made),
          squares: ops.sumSquares(made, { axes: [1], keepDimensions: false }),
        };
        return gram ? { ...common, gram: ops.matmul(ops.transpose(made, [1, 0]), made) } : common;
      },
      { x: spec("float32", ["n", ...map.shape]), classOf: spec("float32", [classes, "n"]) },
    );
    const part = programToModel(program, { opset: network.opset });
    model ??= withInput(network.model, part, "classOf", oneHot);
    const attached = attachModel(model, part, {
      prefix: `e2cm/sums${index}`,
      inputs: { x: taps[index]!, classOf: oneHot },
    });
    model = attached.model;
    const { sums, squares, gram: gramName = null } = attached.outputs as Record<string, string>;
    outputs.push({ sums: sums!, squares: squares!, gram: gramName ?? null });
  });
  const names = outputs.flatMap(({ sums, squares, gram: gramName }) => [
    sums,
    squares,
    ...(gramName === null ? [] : [gramName]),
  ]);
  return { model: onlyOutputs(addTaps(model!, names), names), oneHot, outputs };
}

/** The model with one input more, declared as the part declares it. */
function withInput(model: Model, part: Model, of: string, name: string): Model {
  const graph = model.proto.graph!;
  const declared = part.proto.graph!.input.find((input) => input.name === of)!;
  return { proto: { ...model.proto, graph: { ...graph, input: [...graph.input, { ...declared, name }] } } };
}

function onlyOutputs(model: Model, names: readonly string[]): Model {
  const graph = model.proto.graph!;
  const wanted = new Set(names);
  return {
    proto: { ...model.proto, graph: { ...graph, output: graph.output.filter(({ name }) => wanted.has(name)) } },
  };
}
