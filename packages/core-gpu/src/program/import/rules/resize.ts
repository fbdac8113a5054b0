import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import type { Rules } from "./rule.ts";

const coordinatesOf: ReadonlyMap<string, "halfPixel" | "alignCorners" | "asymmetric"> = new Map([
  ["half_pixel", "halfPixel"],
  ["pytorch_half_pixel", "halfPixel"],
  ["align_corners", "alignCorners"],
  ["asymmetric", "asymmetric"],
]);

const roundingOf: ReadonlyMap<string, "floor" | "ceil" | "roundPreferFloor" | "roundPreferCeil"> = new Map([
  ["floor", "floor"],
  ["ceil", "ceil"],
  ["round_prefer_floor", "roundPreferFloor"],
  ["round_prefer_ceil", "roundPreferCeil"],
]);

function resize(node: ImportNode): Value {
  const x = node.value(0);
  const size = sizeOf(node, x);
  const mode = node.text("mode", "nearest");
  if (mode !== "nearest" && mode !== "linear") unsupported(`it interpolates ${mode}`);
  if (node.int("antialias", 0) === 1) unsupported("it smooths");
  if (node.int("exclude_outside", 0) === 1) unsupported("it weighs the border in its own way");
  if (node.text("keep_aspect_ratio_policy", "stretch") !== "stretch") unsupported("it keeps the aspect ratio");
  const stated = node.text("coordinate_transformation_mode", "half_pixel");
  if (stated === "pytorch_half_pixel" && size.includes(1)) unsupported("PyTorch places a single element elsewhere");
  const coordinates = coordinatesOf.get(stated) ?? unsupported(`its coordinates are ${stated}`);
  const rounding =
    roundingOf.get(node.text("nearest_mode", "round_prefer_floor")) ?? unsupported("it rounds otherwise");
  return ops.resize(x, size, { mode: mode === "linear" ? "bilinear" : "nearest", coordinates, rounding });
}

/** The new spatial sizes. Scales must hit whole sizes: others place elements differently than the sizes' ratio. */
function sizeOf(node: ImportNode, x: Value): readonly number[] {
  const rank = x.shape.length;
  const axes = node.ints("axes")?.map((axis) => (axis < 0 ? axis + rank : axis)) ?? x.shape.map((_, axis) => axis);
  const given = node.has(3) ? node.dimensions(3) : node.numbers(2);
  const sizes = x.shape.map((old, axis) => {
    const value = given[axes.indexOf(axis)];
    if (value === undefined) return old;
    if (node.has(3)) return value;
    if (value === 1) return old;
    if (typeof old === "string" || typeof value === "string") unsupported(`it scales the symbolic axis ${axis}`);
    const size = Math.round(old * value);
    return Math.abs(size - old * value) < 1e-4
      ? size
      : unsupported(`its scales do not give a whole size on axis ${axis}`);
  });
  if (sizes[0] !== x.shape[0] || sizes[1] !== x.shape[1]) unsupported("it resizes samples or channels");
  const spatial = sizes.slice(2);
  if (spatial.some((size) => typeof size === "string")) unsupported("its sizes are symbolic");
  return spatial as readonly number[];
}

export const resizing: Rules = { Resize: resize };
