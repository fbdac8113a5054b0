import { sizeOf, tensor } from "../../../tensor.ts";
import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import { axisOf, onlyResults, type Rules } from "./rule.ts";

function batchNorm(node: ImportNode): Value {
  const [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map((index) => node.value(index)) as [
    Value,
    Value,
    Value,
    Value,
    Value,
  ];
  const epsilon = node.float("epsilon", 1e-5);
  if (!node.training) {
    if (node.int("training_mode", 0) === 0) onlyResults(node, 1);
    return ops.batchNorm(x, scale, bias, mean, variance, { epsilon });
  }
  const batch = ops.batchNormTraining(x, scale, bias, { epsilon });
  const kept = node.float("momentum", 0.9);
  const moved = (before: Value, now: Value) => ops.add(ops.mul(before, kept), ops.mul(now, 1 - kept));
  node.update(3, moved(mean, batch.mean));
  node.update(4, moved(variance, batch.unbiasedVariance));
  return batch.y;
}

/** Sizes of the axes from `axis` on, which must be known. */
function sizesFrom({ shape }: Value, axis: number): readonly number[] {
  const sizes = shape.slice(axis);
  if (sizes.some((size) => typeof size === "string")) unsupported("it normalises over a symbolic axis");
  return sizes as readonly number[];
}

function layerNorm(node: ImportNode): Value {
  onlyResults(node, 1);
  const x = node.value(0);
  const axis = axisOf(node, -1, x.shape.length);
  const epsilon = node.float("epsilon", 1e-5);
  const size = sizeOf(sizesFrom(x, axis));
  const flat = axis === x.shape.length - 1;
  const list = (index: number) => (flat ? node.value(index) : ops.reshape(node.value(index), [size]));
  const bias = node.has(2) ? list(2) : tensor(x.dtype, [size]);
  if (flat) return ops.layerNorm(x, list(1), bias, { epsilon });
  const joined = ops.reshape(x, [...x.shape.slice(0, axis), size]);
  return ops.reshape(ops.layerNorm(joined, list(1), bias, { epsilon }), x.shape);
}

function groupNorm(node: ImportNode, groups: number): Value {
  const x = node.value(0);
  if (node.spec(1).shape[0] !== x.shape[1]) unsupported("it has one scale for each group");
  return ops.groupNorm(x, node.value(1), node.value(2), { groups, epsilon: node.float("epsilon", 1e-5) });
}

function rmsNorm(node: ImportNode): Value {
  const x = node.value(0);
  const axis = axisOf(node, -1, x.shape.length);
  const epsilon = node.float("epsilon", 1e-5);
  if (axis === x.shape.length - 1) return ops.rmsNorm(x, node.value(1), { epsilon });
  const size = sizeOf(sizesFrom(x, axis));
  const joined = ops.reshape(x, [...x.shape.slice(0, axis), size]);
  return ops.reshape(ops.rmsNorm(joined, ops.reshape(node.value(1), [size]), { epsilon }), x.shape);
}

export const normalisations: Rules = {
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  GroupNormalization: (node) => groupNorm(node, node.int("num_groups", 1)),
  InstanceNormalization: (node) => {
    const channels = node.spec(0).shape[1];
    return groupNorm(node, typeof channels === "number" ? channels : unsupported("its channels are symbolic"));
  },
  RMSNormalization: rmsNorm,
};
