import {
  type Device,
  gradients,
  layers,
  ops,
  parseOptions,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  trace,
  training,
  type Value,
} from "@exitkit/core-gpu";
import type { Backbone } from "@exitkit/early-exit";
import { z } from "zod";
import { callbackOption } from "../options.ts";
import { checkMaterial } from "./brief-run.ts";
import { labelsOf } from "./labels-of.ts";

/** Options of {@link gradientNorms}. */
export interface GradientNormsOptions {
  /** Of which network: `params.backbone` of a brief run, say. Default: the backbone's own. */
  readonly params?: TreeRecord<Tensor>;
  /** Called after every sample with the number of samples so far. */
  readonly onProgress?: (samples: number) => unknown;
  /** Ends the call after the sample it is at: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  params: z.custom<object>((value) => typeof value === "object" && value !== null, "must be a record").optional(),
  onProgress: callbackOption().optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * The norm of every sample's own gradient, of the cross-entropy at the final exit with respect to all parameters that are trained, batch
 * norm as it answers: `‖∇_w CE(f_w(xᵢ), yᵢ)‖₂`. A backward pass for each sample, one after the other, as norms of sums say nothing of
 * their parts; the last layer alone has a closed form, which `pruneBy("grand")` uses.
 *
 * @param data Samples `x` and `y` int64 [n], without augmentation.
 * @returns `[n]`, in the order of the dataset: `evidence.gradientNorms` for `pruneBy("grandFull")`.
 * @throws InputError on material that does not fit, labels that are not 0 … k − 1, samples that change at random, or an unknown option.
 * Source: Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet", NeurIPS 2021: GraNd; there a mean over ten trainings, see
 * `evidence.runs`.
 * @example
 * ```ts
 * import { generator, openDevice, proposeCuts, readModelFile, readSafetensorsFile, tensor, training } from "@exitkit/core-gpu";
 * import { importBackbone } from "@exitkit/early-exit";
 * import { gradientNorms, pruneBy } from "@exitkit/eeprune";
 *
 * const model = await readModelFile("network.onnx");
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const y = tensor("int64", trainLabels!.shape, BigInt64Array.from(labels, BigInt));
 * const device = await openDevice("cpu");
 * const backbone = importBackbone(model, { taps: proposeCuts(model).slice(0, 1) });
 * const norms = await gradientNorms(device, backbone, training.tensorDataset({ x: train!, y }));
 * await device.close();
 * const evidence = { labels, classes: backbone.classes, gradientNorms: norms };
 * const { pruned } = pruneBy("grandFull", evidence, { ratio: 0.25, generator: generator(1) });
 * console.assert(Math.max(...pruned.map((i) => norms[i]!)) <= Math.max(...norms));
 * ```
 */
export async function gradientNorms(
  device: Device,
  backbone: Backbone,
  data: training.Dataset,
  options: GradientNormsOptions = {},
): Promise<Float64Array> {
  const caller = "eeprune.gradientNorms";
  const { signal } = parseOptions(caller, schema, options);
  checkMaterial(caller, device, backbone, data);
  const params = options.params ?? backbone.params;
  await labelsOf(caller, data, backbone.classes, signal);
  const [, ...sample] = backbone.input.shape;
  const program = trace(
    (given) => {
      const values = given.params as TreeRecord<Value>;
      const trained = Object.fromEntries(
        Object.entries(layers.flattenParameters(values)).filter(([path]) => backbone.isTrainable(path)),
      );
      const loss = ops.crossEntropy(backbone.apply(values, given.x, false).logits, given.y);
      const squares = Object.values<Value>(gradients(loss, trained)).map((one) => ops.sum(ops.mul(one, one)));
      return { norm: ops.reshape(ops.sqrt(squares.reduce((sum, one) => ops.add(sum, one))), [1]) };
    },
    {
      params: layers.specsOf<TreeRecord<Spec>>(params),
      x: spec(backbone.input.dtype, [1, ...sample]),
      y: spec("int64", [1]),
    },
  );
  const runner = await device.compile(program, { constants: { params }, opset: backbone.opset });
  try {
    const outputs = await training.predict({
      runner,
      data: counted(data, options.onProgress),
      batchSize: 1,
      ...(signal === undefined ? {} : { signal }),
    });
    return Float64Array.from(outputs.norm!.data as Float32Array);
  } finally {
    await runner.release();
  }
}

/** Says how many samples were asked for before each. */
function counted(data: training.Dataset, onProgress: ((samples: number) => unknown) | undefined): training.Dataset {
  let samples = 0;
  return {
    size: data.size,
    async batch(indices, random) {
      const { x, y } = await data.batch(indices, random);
      onProgress?.(++samples);
      return { x: x!, y: y! };
    },
  };
}
