import type { ReduceOptions } from "../../ops/index.ts";
import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import { axesOf, onlyResults, type Rules, scalarOf } from "./rule.ts";

/** The reduction with the node's axes; without axes it reduces all of them, or, if the node says so, none. */
const over =
  (reduce: (x: Value, options: ReduceOptions) => Value) =>
  (node: ImportNode): Value => {
    const x = node.value(0);
    const axes = axesOf(node);
    const keepDimensions = node.int("keepdims", 1) === 1;
    if (axes !== undefined && axes.length > 0) return reduce(x, { axes, keepDimensions });
    return node.int("noop_with_empty_axes", 0) === 1 ? x : reduce(x, { keepDimensions });
  };

const arg = (search: typeof ops.argMax) => (node: ImportNode) => {
  if (node.int("select_last_index", 0) === 1) unsupported("of equals it wants the last");
  return search(node.value(0), { axis: node.int("axis", 0), keepDimensions: node.int("keepdims", 1) === 1 });
};

function lpNormalization(node: ImportNode): Value {
  const x = node.value(0);
  const options = { axes: [node.int("axis", -1)], keepDimensions: true };
  const norm = node.int("p", 2) === 2 ? ops.norm(x, options) : ops.sum(ops.abs(x), options);
  // What is all zeros stays so.
  return ops.div(x, ops.maximum(norm, 1e-30));
}

export const reductions: Rules = {
  ReduceSum: over(ops.sum),
  ReduceMean: over(ops.mean),
  ReduceMax: over(ops.max),
  ReduceMin: over(ops.min),
  ReduceProd: over(ops.prod),
  ReduceSumSquare: over(ops.sumSquares),
  ReduceLogSumExp: over(ops.logSumExp),
  ReduceL1: over((x, options) => ops.sum(ops.abs(x), options)),
  ReduceL2: over(ops.norm),
  ReduceLogSum: over((x, options) => ops.log(ops.sum(x, options))),
  CumSum: (node) =>
    ops.cumSum(node.value(0), {
      axis: scalarOf(node, 1) ?? unsupported("its axis is computed"),
      exclusive: node.int("exclusive", 0) === 1,
      reverse: node.int("reverse", 0) === 1,
    }),
  LpNormalization: lpNormalization,
  ArgMax: arg(ops.argMax),
  ArgMin: arg(ops.argMin),
  TopK: (node) => {
    onlyResults(node, 2);
    const [k] = node.numbers(1);
    const found = ops.topK(node.value(0), k!, { axis: node.int("axis", -1), largest: node.int("largest", 1) === 1 });
    return [found.values, found.indices];
  },
};
