import { type Application, applyOperator, ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";
import { interpolate, WINDOW } from "./interpolate.ts";
import { neighbourTable, type PlaneWindow } from "./neighbours.ts";

/** What becomes of the features of pixels that are done: carried on, or interpolated behind every convolution (ADP-C). */
export type Fill = { readonly kind: "carried" } | { readonly kind: "interpolated"; readonly lambda: number };

/** MACs of a stage as a function of the number of pixels that go on. */
export interface StageCost {
  /** Whatever goes on. */
  readonly fixed: number;
  /** For each pixel that goes on. */
  readonly perPixel: number;
  /** Σ of 49·c over interpolated convolutions: each left-out pixel pays it times the share of pixels that go on. */
  readonly interpolation: number;
}

/** How a stage knows which pixels go on, and on which grid. */
export interface Mask {
  /** [h, w] of the decisions. */
  readonly grid: readonly [number, number];
  /** bool [1, 1, h, w], true where a pixel goes on: the condition of every carry. */
  readonly plane: Value;
  /** int64 [m, 1] places of the pixels that go on, rising; null computes every pixel and masks. */
  readonly active: Value | null;
  readonly fill: Fill;
  /** Planes that are known as rows [h·w, c] already. Default: none. */
  readonly given?: ReadonlyMap<Value, Value>;
}

/** A stage's values with only what pixels that go on need computed. */
export interface Masked {
  /** A value over the whole plane, [1, c, h, w]. */
  whole(value: Value): Value;
  /** A value over the whole plane as rows [h·w, c]. */
  rows(value: Value): Value;
  /** MACs of what was asked for so far. */
  cost(): StageCost;
}

const pointwise = new Set(
  (
    "abs add ceil clip cos div erf exp floor log maximum minimum mul neg pow round sign sin sqrt square sub gelu leakyRelu " +
    "relu sigmoid silu softplus tanh"
  ).split(" "),
);

/**
 * Rewrites a stage that was traced for whole planes so that it computes what the mask asks for.
 *
 * Every value has up to three forms: the plane [1, c, h, w]; all its pixels as rows [h·w, c]; the rows [m, c] of the pixels that go on.
 * A form is made when it is asked for. Whatever a carry takes is asked for in the third form: pointwise operators and
 * 1 × 1 convolutions then work on m rows, larger windows gather their neighbours' rows by a table and are one matrix product; what
 * those neighbours need is asked for in the second. Operators without a rule run on planes. Interpolated convolutions are
 * computed at pixels that go on and interpolated elsewhere.
 *
 * Without `active` all is computed on planes, and masked: the reference, with the same result.
 */
export function masked({ grid, plane, active, fill, given }: Mask): Masked {
  const planes = new Map<Value, Value>();
  const rows = new Map<Value, Value>(given);
  const few = new Map<Value, Value>();
  const padded = new Map<Value, Value>();
  const size = grid[0] * grid[1];
  const floatMask = fill.kind === "interpolated" ? ops.cast(plane, "float32") : null;
  let fixed = 0;
  let perPixel = 0;
  let interpolation = 0;

  const remembered = (map: Map<Value, Value>, value: Value, make: () => Value): Value => {
    const known = map.get(value);
    if (known !== undefined) return known;
    const made = make();
    map.set(value, made);
    return made;
  };
  const onGrid = (value: Value) =>
    value.shape.length === 4 && value.shape[2] === grid[0] && value.shape[3] === grid[1] && value.dtype === "float32";
  const isCarry = ({ operator, operands }: Application) => operator.name === "where" && operands[0] === plane;
  const interpolated = (value: Value, name: string) =>
    fill.kind === "interpolated" && (name === "conv" || name === "convTranspose") && onGrid(value);

  /** [1, c, h, w]. */
  function whole(value: Value): Value {
    return remembered(planes, value, () => {
      const { producer } = value;
      if (producer.kind !== "result") return value;
      const { application } = producer;
      const { operator, operands, attributes, results } = application;
      if (interpolated(value, operator.name)) {
        const { lambda } = fill as Extract<Fill, { kind: "interpolated" }>;
        interpolation += WINDOW * WINDOW * (value.shape[1] as number);
        if (active !== null && gathers(application)) {
          return interpolate(fromRows(spread(null, rowsOfFew(value)), value), floatMask!, lambda);
        }
        countConv(application, "fixed");
        return interpolate(again(), floatMask!, lambda);
      }
      if (isCarry(application)) {
        if (active === null) {
          // The reference computes all; what the mask asks for is counted in the other form.
          return ops.where(plane, whole(operands[1]!), whole(operands[2]!));
        }
        return fromRows(all(value), value);
      }
      if (active !== null && onGrid(value) && byRows(application)) return fromRows(all(value), value);
      countConv(application, "fixed");
      return again();

      function again(): Value {
        const made = applyOperator(operator, operands.map(whole), attributes);
        results.forEach((result, index) => {
          if (result !== value && !interpolated(result, operator.name)) planes.set(result, made[index]!);
        });
        return made[results.indexOf(value)]!;
      }
    });
  }

  /** [h·w, c] of the value's own plane. */
  function all(value: Value): Value {
    return remembered(rows, value, () => {
      const { producer } = value;
      if (producer.kind === "result" && onGrid(value)) {
        const { application } = producer;
        if (active !== null && isCarry(application)) {
          const [, after, before] = application.operands as [Value, Value, Value];
          const own = rowsOfFew(after);
          const known = padded.get(value);
          return known === undefined ? spread(all(before), own) : ops.slice(known, { axis: 0, to: size });
        }
        if (active !== null && byRows(application) && !interpolated(value, application.operator.name)) {
          countConv(application, "fixed");
          return rowForm(application, all);
        }
      }
      const [, c, h, w] = value.shape as number[];
      return ops.reshape(ops.transpose(whole(value), [0, 2, 3, 1]), [h! * w!, c!]);
    });
  }

  /** [m, c] of the pixels that go on. */
  function rowsOfFew(value: Value): Value {
    return remembered(few, value, () => {
      const { producer } = value;
      if (producer.kind === "result" && onGrid(value)) {
        const { application } = producer;
        if (isCarry(application)) return rowsOfFew(application.operands[1]!);
        if (byRows(application)) {
          countConv(application, "perPixel");
          return rowForm(application, rowsOfFew);
        }
        if (gathers(application)) {
          countConv(application, "perPixel");
          return gathered(application);
        }
      }
      return ops.gather(all(value), ops.reshape(active!, [-1]));
    });
  }

  /** All rows and one of zeros behind them, [h·w + 1, c]; a carry of padded rows is padded. */
  function withPadding(value: Value): Value {
    return remembered(padded, value, () => {
      const { producer } = value;
      if (producer.kind === "result" && onGrid(value) && isCarry(producer.application)) {
        const [, after, before] = producer.application.operands as [Value, Value, Value];
        return ops.scatterNd(withPadding(before), active!, rowsOfFew(after));
      }
      return ops.concat([all(value), tensor("float32", [1, value.shape[1] as number])], 0);
    });
  }

  /** Rows of the pixels that go on put where they belong among all, over `base` or zeros. */
  function spread(base: Value | null, own: Value): Value {
    return ops.scatterNd(base ?? tensor("float32", [size, own.shape[1] as number]), active!, own);
  }

  /** Pointwise operators whose constants are one number a channel, joins of channels, and 1 × 1 convolutions. */
  function byRows({ operator, operands, attributes }: Application): boolean {
    if (operator.name === "conv") {
      const window = windowOf(operands, attributes);
      if (window === null || !onGrid(operands[0]!)) return false;
      return [...window.kernel, ...window.stride].every((size) => size === 1);
    }
    if (operator.name === "concat") return (attributes as { axis: number }).axis === 1 && operands.every(onGrid);
    if (operator.name === "batchNorm") return onGrid(operands[0]!);
    if (!pointwise.has(operator.name)) return false;
    return operands.some(onGrid) && operands.every((operand) => onGrid(operand) || channelConstant(operand) !== null);
  }

  function rowForm({ operator, operands, attributes }: Application, form: (value: Value) => Value): Value {
    if (operator.name === "conv") {
      const [x, weight, bias] = operands as [Value, Value, Value | undefined];
      const { out, inner, matrix } = matrixOf(weight, 1);
      const product = ops.matmul(form(x), tensor("float32", [inner, out], matrix));
      return bias === undefined ? product : ops.add(product, bias);
    }
    if (operator.name === "batchNorm") {
      return applyOperator(operator, [form(operands[0]!), ...operands.slice(1)], attributes)[0]!;
    }
    const own = operands.map((operand) => (onGrid(operand) ? form(operand) : channelConstant(operand)!));
    return applyOperator(operator, own, attributes)[0]!;
  }

  /** Whether the operator is a convolution that can gather its neighbours: one group, known weights, any stride and dilation. */
  function gathers({ operator, operands, attributes }: Application): boolean {
    return operator.name === "conv" && operands[0]!.dtype === "float32" && windowOf(operands, attributes) !== null;
  }

  function gathered({ operands, attributes, results }: Application): Value {
    const [x, weight, bias] = operands as [Value, Value, Value | undefined];
    const window = windowOf(operands, attributes)!;
    const [, , h, w] = x.shape as [number, number, number, number];
    const [, , newHeight, newWidth] = results[0]!.shape as [number, number, number, number];
    const table = neighbourTable([h, w], [newHeight, newWidth], window);
    const places = ops.gather(table, ops.reshape(active!, [-1]));
    const near = ops.flatten(ops.gather(withPadding(x), places), 1);
    const { out, inner, matrix } = matrixOf(weight, window.kernel[0] * window.kernel[1]);
    const product = ops.matmul(near, tensor("float32", [inner, out], matrix));
    return bias === undefined ? product : ops.add(product, bias);
  }

  function countConv({ operator, operands, results }: Application, to: "fixed" | "perPixel"): void {
    const macs = macsOf(operator.name, operands, results[0]!);
    if (to === "fixed") fixed += macs;
    else perPixel += macs / size;
  }

  return { whole, rows: all, cost: () => ({ fixed, perPixel, interpolation }) };
}

/** MACs of a convolution or matrix product over whole planes; 0 for other operators. */
function macsOf(name: string, operands: readonly Value[], result: Value): number {
  const elements = (shape: Value["shape"]) => (shape as readonly number[]).reduce((product, side) => product * side, 1);
  if (name === "conv") return elements(result.shape) * elements(operands[1]!.shape.slice(1));
  if (name === "convTranspose") return elements(operands[0]!.shape) * elements(operands[1]!.shape.slice(1));
  if (name === "matmul") return elements(result.shape) * (operands[0]!.shape.at(-1) as number);
  return 0;
}

function fromRows(rows: Value, { shape }: Value): Value {
  const [, c, h, w] = shape as [number, number, number, number];
  return ops.transpose(ops.reshape(rows, [1, h, w, c]), [0, 3, 1, 2]);
}

/** A constant that has one number, or one a channel, as what rows are combined with; null for anything else. */
function channelConstant({ producer, shape, dtype }: Value): Tensor | null {
  if (producer.kind !== "constant" || dtype !== "float32") return null;
  const { data } = producer.tensor as Tensor<"float32">;
  if (data.length === 1) return tensor("float32", [], data.slice());
  const channels = shape.at(-3);
  return shape.length >= 3 && shape.length <= 4 && channels === data.length
    ? tensor("float32", [data.length], data)
    : null;
}

/** The window of a convolution of one group with known weights over planes. */
function windowOf(operands: readonly Value[], attributes: object): PlaneWindow | null {
  const { stride, padding, dilation, groups } = attributes as Record<string, unknown>;
  const weight = operands[1]!;
  if (weight.producer.kind !== "constant" || weight.shape.length !== 4 || groups !== 1) return null;
  const pair = (given: unknown): [number, number] => {
    const list = typeof given === "number" ? [given, given] : (given as (number | readonly [number, number])[]);
    return list.map((side) => (typeof side === "number" ? side : side[0])) as [number, number];
  };
  const kernel = weight.shape.slice(2) as [number, number];
  return { kernel, stride: pair(stride), padding: pair(padding), dilation: pair(dilation) };
}

/** Weights [out, c, i, j] as the matrix [i·j·c, out] that neighbours' rows, one after another, are multiplied with. */
function matrixOf(weight: Value, places: number): { out: number; inner: number; matrix: Float32Array } {
  const [out, c] = weight.shape as [number, number];
  const data = (weight.producer as { readonly tensor: Tensor }).tensor.data as Float32Array;
  const inner = c * places;
  const matrix = new Float32Array(inner * out);
  for (let o = 0; o < out; o++) {
    for (let channel = 0; channel < c; channel++) {
      for (let place = 0; place < places; place++) {
        matrix[(place * c + channel) * out + o] = data[(o * c + channel) * places + place]!;
      }
    }
  }
  return { out, inner, matrix };
}
