import type { Dimension } from "../../dimensions.ts";
import type { Range } from "../../ops/index.ts";
import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import { axisOf, type Rules, scalarOf } from "./rule.ts";

/** Beyond every axis: how exporters write "to the end". */
const beyond = 2 ** 31 - 1;

function slice(node: ImportNode): Value {
  const x = node.value(0);
  const rank = x.shape.length;
  const starts = node.has(1) ? node.dimensions(1) : (node.ints("starts") ?? []);
  const ends = node.has(2) ? node.dimensions(2) : (node.ints("ends") ?? []);
  const axes = node.has(3) ? node.numbers(3) : (node.ints("axes") ?? starts.map((_, axis) => axis));
  const steps = node.has(4) ? node.numbers(4) : starts.map(() => 1);
  const ranges: Range[] = [];
  const prefixes: { readonly axis: number; readonly size: string }[] = [];
  axes.forEach((given, at) => {
    const axis = given < 0 ? given + rank : given;
    const size = x.shape[axis]!;
    const start = starts[at]!;
    const end = ends[at]! === size ? beyond : ends[at]!;
    if (typeof end === "string") {
      if (start !== 0 || steps[at] !== 1) unsupported(`a part of axis ${axis} ends at ${end} and does not begin at 0`);
      prefixes.push({ axis, size: end });
    } else if (typeof start === "string") {
      unsupported(`a part of axis ${axis} begins at ${start}`);
    } else {
      const range = rangeOf(axis, size, start, end, steps[at]!);
      if (range !== null) ranges.push(range);
    }
  });
  const cut = ranges.length === 0 ? x : ops.slice(x, ranges);
  return prefixes.reduce((rest, { axis, size }) => prefix(node, rest, axis, size), cut);
}

function rangeOf(axis: number, size: Dimension, start: number, end: number, step: number): Range | null {
  const from = step > 0 ? (start === 0 ? undefined : start) : start >= beyond ? undefined : start;
  const to = step > 0 ? (end >= beyond ? undefined : end) : end <= -beyond ? undefined : end;
  if (from === undefined && to === undefined && step === 1) return null;
  if (typeof size === "string" && (step < 0 || (to !== undefined && to >= 0) || ((from ?? 0) < 0 && to !== undefined)))
    unsupported(`the length of a part of the symbolic axis ${axis} is not known`);
  if (typeof size === "number" && step > 0 && to !== undefined && to >= size && from === undefined && step === 1)
    return null;
  return { axis, from, to, step };
}

/** The first entries of an axis, as many as a symbol says. */
function prefix(node: ImportNode, x: Value, axis: number, size: string): Value {
  const origin = node.locate(size);
  return ops.gather(x, ops.iota(origin.value, { axis: origin.axis }), { axis });
}

function gather(node: ImportNode): Value {
  const x = node.value(0);
  const axis = axisOf(node, 0, x.shape.length);
  const size = x.shape[axis]!;
  const index = node.spec(1).shape.length === 0 ? scalarOf(node, 1) : undefined;
  // One known entry is a slice, whose gradient is cheap.
  if (index !== undefined && (typeof size === "number" || index === -1)) {
    const from = index < 0 && typeof size === "number" ? index + size : index;
    return ops.squeeze(ops.slice(x, { axis, from, to: from === -1 ? undefined : from + 1 }), axis);
  }
  return ops.gather(x, node.value(1), { axis });
}

function oneHot(node: ImportNode): Value {
  const indices = node.value(0);
  const depth = scalarOf(node, 1) ?? unsupported("the number of classes is computed");
  const [off, on] = node.numbers(2) as [number, number];
  const rank = indices.shape.length + 1;
  const axis = axisOf(node, -1, rank);
  const classes = Array.from({ length: depth }, (_, at) => at);
  const { dtype } = node.spec(2);
  const list = { dtype: "int64", shape: Array.from({ length: rank }, (_, at) => (at === axis ? depth : 1)) } as const;
  const whole = indices.dtype === "int64" ? indices : ops.cast(indices, "int64");
  const wrapped = ops.where(ops.less(whole, 0), ops.add(whole, depth), whole);
  const hot = ops.equal(ops.unsqueeze(wrapped, axis), { ...list, data: BigInt64Array.from(classes, BigInt) });
  const numbers = ops.cast(hot, dtype);
  return on === 1 && off === 0 ? numbers : ops.add(ops.mul(numbers, on - off), off);
}

export const selections: Rules = {
  Slice: slice,
  Gather: gather,
  GatherElements: (node) => ops.takeAlongAxis(node.value(0), node.value(1), { axis: node.int("axis", 0) }),
  ScatterElements: (node) => {
    const reduction = node.text("reduction", "none");
    const [x, indices, updates] = [node.value(0), node.value(1), node.value(2)];
    if (reduction === "add") return ops.scatterAdd(x, indices, updates, { axis: node.int("axis", 0) });
    if (reduction !== "none") unsupported(`it combines by ${reduction}`);
    return ops.scatter(x, indices, updates, { axis: node.int("axis", 0) });
  },
  GatherND: (node) => {
    if (node.int("batch_dims", 0) !== 0) unsupported("it has batch dimensions");
    return ops.gatherNd(node.value(0), node.value(1));
  },
  ScatterND: (node) => {
    const reduction = node.text("reduction", "none");
    if (reduction !== "none") unsupported(`it combines by ${reduction}`);
    return ops.scatterNd(node.value(0), node.value(1), node.value(2));
  },
  OneHot: oneHot,
};
