import {
  type Device,
  generator,
  InputError,
  type Model,
  ops,
  parseOptions,
  programToModel,
  quantiseModel,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { graphOf } from "../channels/graph.ts";
import { shapesOf } from "../channels/probe.ts";
import { propagate } from "../channels/propagate.ts";
import { blockOf } from "./block-of.ts";
import { type LayerPlace, type LayerShape, placeName } from "./layer-shape.ts";
import type { LayerTimes, TimedShape } from "./layer-times.ts";

/** Options of {@link measureLayerTimes}. */
export interface MeasureLayerTimesOptions {
  /** Samples of a batch. Default 64. */
  readonly batch?: number;
  /** Widths of a layer between a block and its full width, at most. Default 4. */
  readonly steps?: number;
  /** Times that all shapes are gone through; the shortest run counts. Default 3. */
  readonly passes?: number;
  /** Whether 8 bits are measured too. Default true. */
  readonly eightBits?: boolean;
  /** Shape of one sample by input, without the batch. Default: what the model states. */
  readonly sampleShapes?: Readonly<Record<string, readonly number[]>>;
  /** Ends the call between two measurements: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called with how many of how many measurements are done. */
  readonly onProgress?: (done: number, of: number) => unknown;
}

const caller = "prune-ee.measureLayerTimes";
const schema = z.strictObject({
  batch: z.int().min(1).default(64),
  steps: z.int().min(1).default(4),
  passes: z.int().min(1).default(3),
  eightBits: z.boolean().default(true),
  sampleShapes: z.record(z.string(), z.array(z.int().min(1)).readonly()).default({}),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z.custom<(done: number, of: number) => unknown>((value) => typeof value === "function").optional(),
});

/** Milliseconds that one measurement runs at least, and runs. */
const LEAST = { milliseconds: 12, runs: 5 };
/** The layer whose widths tell the block: 3×3 at 16×16, in and out alike. */
const BLOCK_WIDTHS = [16, 18, 20, 24, 26, 28, 32, 40, 48, 56, 64];

/**
 * Measures how long each convolution and linear layer of a network takes on this device, alone and at several widths, in float and in 8
 * bits; and the block of channels that the runtime computes in. The table says where {@link pruneChannels} should prune for a wanted time.
 *
 * All shapes are gone through several times, and the shortest run of each counts: other work on the machine only adds. Minutes for a
 * large network.
 *
 * @throws InputError on an unknown option, what is no device, or a model that does not run.
 * Source: widths that are no multiple of the block take longer than the full width [M].
 * @example
 * ```ts
 * import { openDevice, readModelFile } from "@exitkit/core-gpu";
 * import { measureLayerTimes, pruneChannels } from "@exitkit/prune-ee";
 * const device = await openDevice("cpu");
 * const model = await readModelFile("network.onnx");
 * const table = await measureLayerTimes(device, model, { batch: 4, passes: 1 });
 * const { layers } = await pruneChannels(device, model, { time: { table, share: 0.99 }, multipleOf: 2 });
 * console.assert(table.rows.every(({ float }) => float > 0) && layers.length > 0);
 * await device.close();
 * ```
 */
export async function measureLayerTimes(
  device: Device,
  model: Model,
  options: MeasureLayerTimesOptions = {},
): Promise<LayerTimes> {
  const { batch, steps, passes, eightBits, sampleShapes, signal, onProgress } = parseOptions(caller, schema, options);
  if (typeof device?.load !== "function") {
    throw new InputError(caller, "a device is needed", typeof device, 'Pass await openDevice("cpu").');
  }
  const { products } = propagate(graphOf(caller, model, await shapesOf(device, model, sampleShapes)));
  const blocks = BLOCK_WIDTHS.map((width): LayerShape => ({ ...blockPlace, in: width, out: width }));
  const widths = await measureAll(device, blocks, { batch: Math.min(batch, 16), passes, eightBits, signal });
  const block = blockOf(new Map(widths.map(({ out, float }) => [out, float])));
  const shapes = widthsOf(
    products.map(({ place, in: from, out }) => ({ ...place, in: from.length, out: out.length })),
    block,
    steps,
  );
  const rows = await measureAll(device, shapes, { batch, passes, eightBits, signal, onProgress });
  return { batch, block, widths, rows };
}

const blockPlace: LayerPlace = { kind: "conv", kernel: [3, 3], stride: [1, 1], size: [16, 16] };

/** The shapes of a network, and those at smaller widths: whole blocks, `steps` of them or fewer, and the widths that occur. */
export function widthsOf(layers: readonly LayerShape[], block: number, steps: number): readonly LayerShape[] {
  const places = new Map(layers.map((layer) => [placeName(layer), layer]));
  return [...places].flatMap(([name, { in: _, out: __, ...place }]) => {
    const own = layers.filter((layer) => placeName(layer) === name);
    const all = (key: "in" | "out") => {
      const occurring = own.map((layer) => layer[key]);
      const most = Math.max(...occurring);
      const blocks = Math.floor(most / block);
      const smaller = Array.from({ length: Math.min(steps, blocks) }, (_, at) =>
        Math.round(((at + 1) * blocks) / Math.min(steps, blocks)),
      );
      return [...new Set([...smaller.map((count) => count * block), ...occurring])].sort((a, b) => a - b);
    };
    const outs = all("out");
    if (place.kind === "depthwise") return outs.map((width) => ({ ...place, in: width, out: width }));
    return all("in").flatMap((from) => outs.map((to) => ({ ...place, in: from, out: to })));
  });
}

interface MeasurePlan {
  readonly batch: number;
  readonly passes: number;
  readonly eightBits: boolean;
  readonly signal: AbortSignal | undefined;
  readonly onProgress?: MeasureLayerTimesOptions["onProgress"];
}

async function measureAll(
  device: Device,
  shapes: readonly LayerShape[],
  { batch, passes, eightBits, signal, onProgress }: MeasurePlan,
): Promise<readonly TimedShape[]> {
  const forms = await Promise.all(
    shapes.map(async (shape) => {
      signal?.throwIfAborted();
      const { model, x } = layerModel(shape, batch);
      const smaller = eightBits ? (await quantiseModel(device, model, [{ x }])).model : undefined;
      return { shape, x, models: smaller === undefined ? [model] : [model, smaller] };
    }),
  );
  const times = forms.map(({ models }) => models.map((): number[] => []));
  for (let pass = 0; pass < passes; pass++) {
    for (const [at, { models, x }] of forms.entries()) {
      signal?.throwIfAborted();
      for (const [form, model] of models.entries()) times[at]![form]!.push(await timed(device, model, x));
      await onProgress?.(pass * forms.length + at + 1, passes * forms.length);
    }
  }
  return forms.map(({ shape }, at) => {
    const [float, small] = times[at]!.map((passes) => Math.min(...passes));
    return { ...shape, float: float!, ...(small === undefined ? {} : { eightBits: small }) };
  });
}

/** One layer, with the activation that follows it, on random numbers. */
function layerModel({ kind, kernel, stride, size, in: from, out }: LayerShape, batch: number) {
  const random = generator(1);
  const normal = (shape: readonly number[]): Tensor<"float32"> =>
    tensor(
      "float32",
      shape,
      Float32Array.from({ length: shape.reduce((product, side) => product * side, 1) }, () => random.normal()),
    );
  const rows = batch * size.reduce((product, side) => product * side, 1);
  const shape = kind === "linear" ? [rows, from] : [batch, from, ...size];
  const weight = normal(kind === "linear" ? [out, from] : [out, kind === "depthwise" ? 1 : from, ...kernel]);
  const bias = normal([out]);
  const padding = kernel.map((side): [number, number] => [Math.floor(side / 2), Math.floor(side / 2)]);
  const groups = kind === "depthwise" ? from : 1;
  const program = trace(
    ({ x }) => {
      const y =
        kind === "linear" ? ops.linear(x, weight, bias) : ops.conv(x, weight, { bias, stride, padding, groups });
      return { y: ops.relu(y) };
    },
    { x: spec("float32", shape) },
  );
  return { model: programToModel(program), x: normal(shape) };
}

/** Milliseconds of a run: two to warm up, then the shortest of several. */
async function timed(device: Device, model: Model, x: Tensor): Promise<number> {
  const session = await device.load(model);
  try {
    for (let warm = 0; warm < 2; warm++) await session.run({ x });
    const times: number[] = [];
    for (let spent = 0; times.length < LEAST.runs || spent < LEAST.milliseconds; spent += times.at(-1)!) {
      const begun = performance.now();
      await session.run({ x });
      times.push(performance.now() - begun);
    }
    return Math.min(...times);
  } finally {
    await session.release();
  }
}
