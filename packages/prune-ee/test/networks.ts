import { readFileSync } from "node:fs";
import { generator, layers, ops, optimisers, spec, tensor, training, type Value } from "@exitkit/core-gpu";
import { type ExitNetwork, type ExitParameters, exitNetwork, heads, programBackbone } from "@exitkit/early-exit";
import type { FineTuning } from "../src/index.ts";

export const golden = JSON.parse(readFileSync(new URL("../fixtures/golden.json", import.meta.url), "utf8"));

const CLASSES = 3;

function convNorm(random: ReturnType<typeof generator>, from: number, to: number) {
  return {
    conv: layers.initConv(random, { in: from, out: to, kernel: 3, bias: false }),
    norm: layers.initBatchNorm(to),
  };
}

/** 2×8×8 samples: two convolutions with batch norm, an exit after each, a linear layer. */
export function tinyNetwork(seed = 1): ExitNetwork {
  const random = generator(seed);
  const params = {
    first: convNorm(random, 2, 6),
    second: convNorm(random, 6, 8),
    last: layers.initLinear(random, { in: 8, out: CLASSES }),
  };
  const backbone = programBackbone({
    params,
    input: spec("float32", ["n", 2, 8, 8]),
    apply: (given, x, training) => {
      const layer = (part: typeof given.first, value: Value, stride: number) => {
        const made = ops.conv(value, part.conv.weight, { padding: 1, stride });
        const { y, updated } = layers.batchNorm(part.norm, made, { training });
        return { y: ops.relu(y), updated };
      };
      const first = layer(given.first, x, 1);
      const second = layer(given.second, first.y, 2);
      return {
        taps: { first: first.y, second: second.y },
        logits: layers.linear(given.last, ops.flatten(ops.globalAveragePool(second.y))),
        updated: { first: { norm: first.updated }, second: { norm: second.updated } },
      };
    },
  });
  return exitNetwork(backbone, [
    { tap: "first", head: heads.mixedPool() },
    { tap: "second", head: heads.linear() },
  ]);
}

/** Noisy samples of three patterns. */
export function tinyData(n = 48): training.Dataset {
  const random = generator(3);
  const base = Array.from({ length: CLASSES }, () => Float32Array.from({ length: 128 }, () => random.normal()));
  const y = BigInt64Array.from({ length: n }, (_, row) => BigInt(row % CLASSES));
  const x = tensor("float32", [n, 2, 8, 8]);
  for (let at = 0; at < x.data.length; at++) {
    x.data[at] = base[Number(y[Math.floor(at / 128)])]![at % 128]! + random.normal();
  }
  return training.tensorDataset({ x, y: tensor("int64", [n], y) });
}

export const fineTuning: FineTuning = {
  epochs: 1,
  batchSize: 16,
  optimiser: optimisers.sgd({ momentum: 0.9, weightDecay: 1e-3 }),
  learningRate: 0.02,
};

/** Every parameter by its path. */
export function flat(params: ExitParameters) {
  return layers.flattenParameters(params);
}
