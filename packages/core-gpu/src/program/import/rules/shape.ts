import { tensor } from "../../../tensor.ts";
import { type Dimension, divideShapes, type Shape, sameShape, termsOf } from "../../dimensions.ts";
import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import { axesOf, axisOf, type Rules } from "./rule.ts";

function reshape(node: ImportNode): Value {
  const x = node.value(0);
  const copies = node.int("allowzero", 0) === 0;
  const shape = node
    .dimensions(1)
    .map((size, axis) => (size === 0 && copies ? (x.shape[axis] ?? unsupported("a 0 has nothing to copy")) : size));
  return sameShape(shape, x.shape) ? x : ops.reshape(x, shape);
}

function expand(node: ImportNode): Value {
  const x = node.value(0);
  const wanted = node.dimensions(1);
  const rank = Math.max(wanted.length, x.shape.length);
  const target: Shape = Array.from({ length: rank }, (_, axis) => {
    const size = wanted[axis - rank + wanted.length] ?? 1;
    return size === 1 ? (x.shape[axis - rank + x.shape.length] ?? 1) : size;
  });
  return sameShape(target, x.shape) ? x : ops.expand(x, target);
}

function transpose(node: ImportNode): Value {
  const x = node.value(0);
  const permutation = node.ints("perm") ?? x.shape.map((_, axis) => x.shape.length - 1 - axis);
  return permutation.every((axis, at) => axis === at) ? x : ops.transpose(x, permutation);
}

function squeeze(node: ImportNode): Value {
  const x = node.value(0);
  const axes = axesOf(node) ?? x.shape.flatMap((size, axis) => (size === 1 ? [axis] : []));
  return axes.length === 0 ? x : ops.squeeze(x, axes);
}

function split(node: ImportNode): readonly Value[] {
  const x = node.value(0);
  const axis = axisOf(node, 0, x.shape.length);
  const given = node.has(1) ? node.dimensions(1) : node.ints("split");
  return ops.split(x, given ?? equalParts(x.shape[axis]!, node.outputs.length), axis);
}

function equalParts(size: Dimension, count: number): readonly Dimension[] {
  if (typeof size === "string") {
    return Array<Dimension>(count).fill(divideShapes([size], [count]) ?? unsupported("its parts have no known size"));
  }
  const part = Math.ceil(size / count);
  return Array.from({ length: count }, (_, index) => Math.max(0, Math.min(part, size - index * part)));
}

function pad(node: ImportNode): Value {
  const x = node.value(0);
  const rank = x.shape.length;
  const pads = node.numbers(1);
  const axes = node.has(3) ? node.numbers(3).map((axis) => (axis < 0 ? axis + rank : axis)) : undefined;
  const mode = node.text("mode", "constant");
  if (mode !== "constant" && mode !== "reflect" && mode !== "edge") unsupported(`it pads by ${mode}`);
  const value = node.has(2) ? node.numbers(2)[0]! : 0;
  const count = pads.length / 2;
  const amounts = x.shape.map((_, axis): readonly [number, number] => {
    const at = axes === undefined ? axis : axes.indexOf(axis);
    return at < 0 ? [0, 0] : [pads[at]!, pads[at + count]!];
  });
  // Negative amounts cut.
  const cuts = amounts.flatMap(([before, after], axis) =>
    before < 0 || after < 0
      ? [{ axis, ...(before < 0 ? { from: -before } : {}), ...(after < 0 ? { to: after } : {}) }]
      : [],
  );
  const kept = cuts.length === 0 ? x : ops.slice(x, cuts);
  const added = amounts.map(([before, after]) => [Math.max(0, before), Math.max(0, after)] as const);
  return added.flat().every((amount) => amount === 0) ? kept : ops.pad(kept, added, { mode, value });
}

function constantOfShape(node: ImportNode): Value {
  const filler = node.tensor("value") ?? tensor("float32", [1], [0]);
  return ops.expand({ ...filler, shape: [] }, node.dimensions(0));
}

function range(node: ImportNode): Value {
  const [from, to, step] = [0, 1, 2].map((index) => node.dimensions(index)[0]!) as [Dimension, Dimension, Dimension];
  if (typeof to === "number" || from !== 0 || step !== 1)
    unsupported("only 0, 1, … up to a size is known before it runs");
  const { dtype } = node.spec(1);
  const indices = countUp(node, to);
  return dtype === "int64" ? indices : ops.cast(indices, dtype);
}

/** 0, 1, … up to a size; one that no tensor has may be the sum of sizes that tensors have (what is past and what is new). */
function countUp(node: ImportNode, size: Dimension): Value {
  const terms = termsOf(size);
  if (terms.length === 1) {
    const { value, axis } = node.locate(size);
    return ops.iota(value, { axis });
  }
  const parts = terms.map((term) => {
    if (typeof term === "string") return countUp(node, term);
    return term > 0 ? tensor("int64", [term]) : unsupported(`the size ${size} is a difference`);
  });
  return ops.iota(ops.concat(parts, 0));
}

function tile(node: ImportNode): Value {
  const x = node.value(0);
  const repeats = node.numbers(1);
  return repeats.reduce(
    (tiled: Value, count, axis) => (count === 1 ? tiled : ops.concat(Array<Value>(count).fill(tiled), axis)),
    x,
  );
}

/** [n, c·b², h, w] → [n, c, h·b, w·b]. */
function depthToSpace(node: ImportNode): Value {
  const x = node.value(0);
  const [n, channels, h, w] = x.shape as [Dimension, Dimension, Dimension, Dimension];
  const b = node.int("blocksize", 1);
  if (typeof channels === "string" || typeof h === "string" || typeof w === "string")
    unsupported("its sizes are symbolic");
  const c = channels / (b * b);
  const parts =
    node.text("mode", "DCR") === "CRD"
      ? ops.transpose(ops.reshape(x, [n, c, b, b, h, w]), [0, 1, 4, 2, 5, 3])
      : ops.transpose(ops.reshape(x, [n, b, b, c, h, w]), [0, 3, 4, 1, 5, 2]);
  return ops.reshape(parts, [n, c, h * b, w * b]);
}

/** [n, c, h·b, w·b] → [n, b²·c, h, w]. */
function spaceToDepth(node: ImportNode): Value {
  const x = node.value(0);
  const [n, c, height, width] = x.shape as [Dimension, Dimension, Dimension, Dimension];
  const b = node.int("blocksize", 1);
  if (node.attribute("mode") !== undefined) unsupported("it states an order of its parts");
  if (typeof c === "string" || typeof height === "string" || typeof width === "string")
    unsupported("its sizes are symbolic");
  const parts = ops.transpose(ops.reshape(x, [n, c, height / b, b, width / b, b]), [0, 3, 5, 1, 2, 4]);
  return ops.reshape(parts, [n, c * b * b, height / b, width / b]);
}

/** What lies above or below a diagonal of the last two axes; the rest is zero. */
function trilu(node: ImportNode): Value {
  const x = node.value(0);
  const rank = x.shape.length;
  const k = node.has(1) ? node.numbers(1)[0]! : 0;
  const rows = ops.unsqueeze(ops.iota(x, { axis: rank - 2 }), 1);
  const columns = ops.iota(x, { axis: rank - 1 });
  const kept =
    node.int("upper", 1) === 1
      ? ops.greaterOrEqual(columns, ops.add(rows, k))
      : ops.lessOrEqual(columns, ops.add(rows, k));
  if (x.dtype === "bool") return ops.and(x, kept);
  return ops.where(kept, x, tensor(x.dtype, [], [0]));
}

export const shapes: Rules = {
  Reshape: reshape,
  Flatten: (node) => {
    const x = node.value(0);
    return ops.flatten(x, axisOf(node, 1, x.shape.length));
  },
  Transpose: transpose,
  Concat: (node) => {
    const axis = node.int("axis", 0);
    const parts = Array.from({ length: node.inputCount }, (_, index) => node.value(index));
    return parts.length === 1 ? parts[0]! : ops.concat(parts, axis);
  },
  Expand: expand,
  Identity: (node) => node.value(0),
  // At inference, and in training too: see importModel.
  Dropout: (node) => {
    if (node.outputs[1]) unsupported("its mask is used");
    return node.value(0);
  },
  Squeeze: squeeze,
  Unsqueeze: (node) => ops.unsqueeze(node.value(0), axesOf(node) ?? unsupported("it has no axes")),
  Split: split,
  Pad: pad,
  Shape: (node) => {
    const { length } = node.spec(0).shape;
    const from = node.int("start", 0);
    const whole = ops.shapeOf(node.value(0));
    if (from === 0 && node.attribute("end") === undefined) return whole;
    return ops.slice(whole, { axis: 0, from, to: node.int("end", length) });
  },
  ConstantOfShape: constantOfShape,
  Range: range,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Trilu: trilu,
};
