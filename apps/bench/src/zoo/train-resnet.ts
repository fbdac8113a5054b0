import { type Generator, InputError, layers, ops, spec, type Value } from "@exitkit/core-gpu";
import { CIFAR_SHAPE } from "../data/cifar.ts";
import type { PictureShape } from "../data/pictures.ts";
import { EPSILON, shortcut } from "./resnet.ts";
import { defineNetwork, type TrainableNetwork } from "./trainable.ts";

/** What the pictures and classes of a network are; by default CIFAR-10's. */
export interface ResnetTask {
  /** [c, h, w] of a picture. */
  readonly shape?: PictureShape;
  readonly classes?: number;
}

const WIDTHS = [16, 32, 64] as const;

/**
 * The CIFAR ResNet of `zoo/resnet.ts`, to train from scratch: the same layers under the same names. Convolutions begin
 * Kaiming-normal, the linear layer as PyTorch's default.
 *
 * @param depth 6b + 2 with b ≥ 1.
 * @throws InputError on another depth.
 * Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
 */
export function trainableResnet(
  depth: number,
  { shape = CIFAR_SHAPE, classes = 10 }: ResnetTask = {},
): TrainableNetwork {
  const blocks = (depth - 2) / 6;
  if (!Number.isInteger(blocks) || blocks < 1) {
    throw new InputError("bench.trainableResnet", "depth must be 6·b + 2 with a whole b ≥ 1", String(depth));
  }
  return defineNetwork({
    name: `resnet${depth}`,
    unit: "pictures",
    classes,
    macs: macsOf(blocks, shape, classes),
    inputs: (n) => ({ x: spec("float32", [n, ...shape]), y: spec("int64", [n]) }),
    init: (random) => ({
      conv1: initConv(random, shape[0], WIDTHS[0]),
      bn1: layers.initBatchNorm(WIDTHS[0]),
      layer1: initGroup(random, WIDTHS[0], WIDTHS[0], blocks),
      layer2: initGroup(random, WIDTHS[0], WIDTHS[1], blocks),
      layer3: initGroup(random, WIDTHS[1], WIDTHS[2], blocks),
      linear: layers.initLinear(random, { in: WIDTHS[2], out: classes }),
    }),
    apply(params, x, training) {
      const norm = (given: Norm, value: Value) => layers.batchNorm(given, value, { training, epsilon: EPSILON });
      const stem = norm(params.bn1, ops.conv(x, params.conv1.weight, { padding: 1 }));
      let y = ops.relu(stem.y);
      const groups = [params.layer1, params.layer2, params.layer3].map((group, at) =>
        group.map(({ conv1, bn1, conv2, bn2 }, index) => {
          const stride = at > 0 && index === 0 ? 2 : 1;
          const first = norm(bn1, ops.conv(y, conv1.weight, { padding: 1, stride }));
          const second = norm(bn2, ops.conv(ops.relu(first.y), conv2.weight, { padding: 1 }));
          y = ops.relu(ops.add(second.y, stride === 2 ? shortcut(y) : y));
          return { bn1: first.updated, bn2: second.updated };
        }),
      );
      return {
        logits: layers.linear(params.linear, ops.flatten(ops.globalAveragePool(y))),
        updated: { bn1: stem.updated, layer1: groups[0]!, layer2: groups[1]!, layer3: groups[2]! },
      };
    },
  });
}

type Norm = layers.BatchNormParameters<Value>;

/** The stem, 2·b convolutions of 3×3 for each width, the first of a width reading the width before; the end. */
function macsOf(blocks: number, [channels, height, width]: PictureShape, classes: number): number {
  const convs = WIDTHS.map((to, group) => {
    const area = Math.ceil(height / 2 ** group) * Math.ceil(width / 2 ** group);
    const from = WIDTHS[group - 1] ?? to;
    return 9 * to * area * (from + (2 * blocks - 1) * to);
  });
  const stem = 9 * channels * WIDTHS[0] * height * width;
  return convs.reduce((sum, macs) => sum + macs, stem) + WIDTHS[2] * classes;
}

function initConv(random: Generator, from: number, to: number) {
  return layers.initConv(random, {
    in: from,
    out: to,
    kernel: 3,
    bias: false,
    initialWeight: layers.kaimingNormal(),
  });
}

function initGroup(random: Generator, from: number, to: number, blocks: number) {
  return Array.from({ length: blocks }, (_, index) => ({
    conv1: initConv(random, index === 0 ? from : to, to),
    bn1: layers.initBatchNorm(to),
    conv2: initConv(random, to, to),
    bn2: layers.initBatchNorm(to),
  }));
}
