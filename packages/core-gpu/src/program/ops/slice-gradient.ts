import type { Dimension } from "../dimensions.ts";
import { type Differentiation, normaliseAxis } from "../operator.ts";
import type { Value } from "../value.ts";
import { zerosLike } from "./scatter.ts";
import type { Range } from "./select.ts";

type Ops = Differentiation["ops"];
type Amounts = [number, number];

/** The gradient of a slice put back where it was taken from, with zeros elsewhere. */
export function sliceGradient(ops: Ops, gradient: Value, x: Value, ranges: readonly Range[]): Value {
  const rank = x.shape.length;
  const around = Array.from({ length: rank }, (): Amounts => [0, 0]);
  const gaps = Array.from({ length: rank }, () => 1);
  let scattered = gradient;
  for (const given of ranges) {
    const range = { ...given, axis: normaliseAxis(given.axis, rank) };
    const { axis } = range;
    const amounts = paddingOf(x.shape[axis]!, gradient.shape[axis]!, range);
    if (amounts === null) {
      scattered = spread(ops, scattered, x, range);
    } else {
      around[axis] = amounts;
      gaps[axis] = range.step ?? 1;
    }
  }
  return padOrCut(ops, widen(ops, scattered, gaps), around);
}

/** What must stand before and after (negative: go away) once the gaps are filled, or null where that is not a number. */
function paddingOf(size: Dimension, length: Dimension, { from = 0, to, step = 1 }: Range): Amounts | null {
  if (step < 0) return null;
  if (typeof size === "string") return step === 1 && from >= 0 ? [from, -(to ?? 0)] : null;
  const start = Math.min(Math.max(from < 0 ? from + size : from, 0), size);
  return [start, size - start - (length as number) * step];
}

/** Zeros after each element: `gaps[axis] − 1` of them. */
function widen(ops: Ops, x: Value, gaps: readonly number[]): Value {
  if (gaps.every((step) => step === 1)) return x;
  const split = x.shape.flatMap((size, axis) => (gaps[axis] === 1 ? [size] : [size, 1]));
  const amounts = gaps.flatMap((step): Amounts[] =>
    step === 1
      ? [[0, 0]]
      : [
          [0, 0],
          [0, step - 1],
        ],
  );
  const joined = x.shape.map((size, axis) => (gaps[axis] === 1 ? size : (size as number) * gaps[axis]!));
  return ops.reshape(ops.pad(ops.reshape(x, split), amounts), joined);
}

function padOrCut(ops: Ops, x: Value, around: readonly Amounts[]): Value {
  const cuts = around.flatMap(([, after], axis) => (after < 0 ? [{ axis, to: after }] : []));
  const cut = cuts.length === 0 ? x : ops.slice(x, cuts);
  const amounts = around.map(([before, after]): Amounts => [before, Math.max(after, 0)]);
  return amounts.every(([before, after]) => before + after === 0) ? cut : ops.pad(cut, amounts);
}

/** One axis by its indices, where the range runs backwards or its place is known only at run time. */
function spread(ops: Ops, gradient: Value, x: Value, range: Range): Value {
  const { axis } = range;
  const shape = gradient.shape.map((dimension, at) => (at === axis ? x.shape[axis]! : dimension));
  const places = ops.slice(ops.iota(x, { axis }), { ...range, axis: 0 });
  return ops.indexAdd(zerosLike(ops, { dtype: gradient.dtype, shape }), places, gradient, { axis });
}
