import { InputError, ops, type Tensor, type Value } from "@exitkit/core-gpu";
import { CIFAR_SHAPE } from "../data/cifar.ts";
import { NORMALISATION, type Normalisation, PIXELS } from "../data/normalisation.ts";
import type { PictureShape } from "../data/pictures.ts";
import { type Backbone, makeBackbone } from "./backbone.ts";
import { resnet8 } from "./resnet8.ts";
import { type Four, foldedConv, NORM, readWeights, type Weights, weightOf } from "./weights.ts";

const CALLER = "bench.resnet";

/** Added to the variance by every batch norm here, as in PyTorch. */
export const EPSILON = 1e-5;

const FILES = {
  resnet8: "mlperf-tiny-resnet8",
  resnet20: "resnet20-12fca82f",
  resnet32: "resnet32-d509ac18",
  resnet44: "resnet44-014dd654",
  resnet56: "resnet56-4bfd9763",
} as const;

const DEPTHS = { resnet20: 20, resnet32: 32, resnet44: 44, resnet56: 56 } as const;

/** The pretrained networks of the zoo. */
export type Pretrained = keyof typeof FILES;

/**
 * A pretrained CIFAR-10 ResNet of the repository as an ONNX model.
 *
 * @param options.folded Whether batch norms are folded into the convolutions (same function up to rounding, fewer nodes).
 * Default true; ResNet-8's always are.
 * @returns The backbone, how it wants its pictures, and the weight file's name and sha256.
 */
export async function pretrained(
  name: Pretrained,
  options: { readonly folded?: boolean } = {},
): Promise<
  Backbone & {
    readonly weights: { readonly backbone: string; readonly file: string; readonly sha256: string };
    readonly normalisation: Normalisation;
  }
> {
  const { weights, file } = await readWeights(FILES[name]);
  const backbone = name === "resnet8" ? resnet8(weights) : resnet(DEPTHS[name], weights, options);
  const normalisation = name === "resnet8" ? PIXELS : NORMALISATION;
  return { ...backbone, normalisation, weights: { backbone: name, file: file.name, sha256: file.sha256 } };
}

/**
 * CIFAR ResNet of 6b + 2 layers: a 3×3 stem and 3 groups of b basic blocks of 16, 32, 64 channels, the second and third
 * beginning with stride 2; shortcuts of option A (every second pixel, new channels zero, half before and half after); global
 * average pool and a linear layer.
 *
 * @param depth 6b + 2 with b ≥ 1.
 * @param weights PyTorch names: conv1.weight, bn1.*, layer{1,2,3}.{i}.conv{1,2}.weight, layer….bn{1,2}.*, linear.*.
 * @param options.shape [c, h, w] of a picture. Default: CIFAR's.
 * @throws InputError on another depth or a missing weight.
 * Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
 */
export function resnet(
  depth: number,
  weights: Weights,
  options: { readonly folded?: boolean; readonly shape?: PictureShape } = {},
): Backbone {
  const blocksPerGroup = (depth - 2) / 6;
  if (!Number.isInteger(blocksPerGroup) || blocksPerGroup < 1) {
    throw new InputError(CALLER, "depth must be 6·b + 2 with a whole b ≥ 1", String(depth));
  }
  const folded = options.folded ?? true;
  // All but the integer counters of batches seen.
  const floats = Object.entries(weights).filter(([, { dtype }]) => dtype === "float32");
  const used = folded ? foldAll(weights) : Object.fromEntries(floats);
  // The first block of a width gives a tensor half as large as the last block of the width before.
  const exitsAfter = [blocksPerGroup + 1, 2 * blocksPerGroup + 1];
  const { shape = CIFAR_SHAPE } = options;
  return makeBackbone({ name: `resnet${depth}`, exitsAfter, shape }, used, (input, w) => {
    const get = (name: string): Value => {
      weightOf(CALLER, used, name);
      return w[name]!;
    };
    const convNorm = (x: Value, conv: string, stride = 1): Value => {
      const weight = get(`${conv}.weight`);
      if (folded) return ops.conv(x, weight, { bias: get(`${conv}.bias`), stride, padding: 1 });
      const norm = normOf(conv);
      const [scale, bias, mean, variance] = NORM.map((part) => get(`${norm}.${part}`)) as Four<Value>;
      return ops.batchNorm(ops.conv(x, weight, { stride, padding: 1 }), scale, bias, mean, variance, {
        epsilon: EPSILON,
      });
    };
    let x = ops.relu(convNorm(input, "conv1"));
    const blocks = [x];
    for (const group of [1, 2, 3]) {
      for (let index = 0; index < blocksPerGroup; index++) {
        const shrinks = group > 1 && index === 0;
        const layer = `layer${group}.${index}`;
        const y = convNorm(ops.relu(convNorm(x, `${layer}.conv1`, shrinks ? 2 : 1)), `${layer}.conv2`);
        x = ops.relu(ops.add(y, shrinks ? shortcut(x) : x));
        blocks.push(x);
      }
    }
    return {
      logits: ops.linear(ops.flatten(ops.globalAveragePool(x)), get("linear.weight"), get("linear.bias")),
      blocks,
    };
  });
}

/** The weights of a ResNet trained here (`trainableResnet`) under the names that {@link resnet} takes: only the statistics differ. */
export function trainedWeights(weights: Weights): Weights {
  const renamed = (key: string) =>
    key.replace(/runningMean$/, "running_mean").replace(/runningVariance$/, "running_var");
  return Object.fromEntries(Object.entries(weights).map(([key, weight]) => [renamed(key), weight]));
}

/** Option A: every second pixel, as many zero channels as there are channels, half before and half after. */
export function shortcut(x: Value): Value {
  const extra = (x.shape[1] as number) / 2;
  const pixels = ops.slice(x, [
    { axis: 2, step: 2 },
    { axis: 3, step: 2 },
  ]);
  return ops.pad(pixels, [
    [0, 0],
    [extra, extra],
    [0, 0],
    [0, 0],
  ]);
}

/** The batch norm after a convolution: conv1 → bn1. */
function normOf(conv: string): string {
  return conv.replace(/conv(\d)$/, "bn$1");
}

/** Every batch norm folded into the convolution before it; the linear layer as it is. */
function foldAll(weights: Weights): Weights {
  const folded: Record<string, Tensor> = {};
  for (const [key, weight] of Object.entries(weights)) {
    const conv = /^(.*conv\d)\.weight$/.exec(key)?.[1];
    if (conv !== undefined) Object.assign(folded, foldedConv(CALLER, weights, conv, normOf(conv), EPSILON));
    else if (key.startsWith("linear.")) folded[key] = weight;
  }
  return folded;
}
