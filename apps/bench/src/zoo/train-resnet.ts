import { type Generator, InputError, layers, ops, spec, type Value } from "@exitkit/core-gpu";
import { EPSILON, shortcut } from "./resnet.ts";
import { defineNetwork, type TrainableNetwork } from "./trainable.ts";

const CLASSES = 10;
const WIDTHS = [16, 32, 64] as const;

/**
 * The CIFAR ResNet of `zoo/resnet.ts`, to train from scratch: the same layers under the same names. Convolutions begin
 * Kaiming-normal, the linear layer as PyTorch's default.
 *
 * @param depth 6b + 2 with b ≥ 1.
 * @throws InputError on another depth.
 * Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
 */
export function trainableResnet(depth: number): TrainableNetwork {
  const blocks = (depth - 2) / 6;
  if (!Number.isInteger(blocks) || blocks < 1) {
    throw new InputError("bench.trainableResnet", "depth must be 6·b + 2 with a whole b ≥ 1", String(depth));
  }
  return defineNetwork({
    name: `resnet${depth}`,
    unit: "pictures",
    classes: CLASSES,
    macs: macsOf(blocks),
    inputs: (n) => ({ x: spec("float32", [n, 3, 32, 32]), y: spec("int64", [n]) }),
    init: (random) => ({
      conv1: initConv(random, 3, WIDTHS[0]),
      bn1: layers.initBatchNorm(WIDTHS[0]),
      layer1: initGroup(random, WIDTHS[0], WIDTHS[0], blocks),
      layer2: initGroup(random, WIDTHS[0], WIDTHS[1], blocks),
      layer3: initGroup(random, WIDTHS[1], WIDTHS[2], blocks),
      linear: layers.initLinear(random, { in: WIDTHS[2], out: CLASSES }),
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

/** The stem, per group 2·b convolutions of 16² · 9 · 32² (a half of it where channels double and sides halve), the end. */
function macsOf(blocks: number): number {
  const [first, , last] = WIDTHS;
  const conv = first * first * 9 * 32 * 32;
  return 3 * first * 9 * 32 * 32 + (3 * 2 * blocks - 1) * conv + last * CLASSES;
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
