import { type DType, sizeOf } from "../../tensor.ts";
import {
  addDimensions,
  type Dimension,
  divideDimension,
  divideShapes,
  multiplyDimensions,
  type Shape,
} from "../dimensions.ts";
import {
  axesOf,
  commonShape,
  concat,
  constantOfShape,
  expand,
  type Fold,
  gather,
  operands,
  range,
  reshape,
  slice,
  spreadTo,
  squeeze,
  transpose,
  unsqueeze,
} from "./fold-shape.ts";
import { type Known, known } from "./known.ts";
import { dtypeOf, type ImportNode } from "./node.ts";

/** What a node gives, where that follows from constants and shapes alone; else null. */
export function fold(node: ImportNode): readonly (Known | null)[] | null {
  const rule = rules.get(node.type);
  if (rule === undefined) return null;
  if (!shapeReaders.has(node.type)) {
    for (let index = 0; index < node.inputCount; index++) {
      if (node.has(index) && node.known(index) === null) return null;
    }
  }
  return rule(node);
}

const shapeReaders: ReadonlySet<string> = new Set(["Shape", "Size"]);

type Element = Dimension | boolean | null;

function elementwise(compute: (dtype: DType, ...elements: Dimension[]) => Element, result?: DType): Fold {
  return (node) => {
    const given = operands(node);
    const shape = commonShape(given);
    if (shape === null) return null;
    const spreads = given.map((operand) => spreadTo(operand, shape));
    const dtype = given.at(-1)!.dtype;
    const elements = Array.from({ length: sizeOf(shape) }, (_, at) =>
      compute(dtype, ...spreads.map((spread) => spread[at]!)),
    );
    return [known(result ?? dtype, shape, elements)];
  };
}

const numeric =
  (compute: (...numbers: number[]) => Element) =>
  (_: DType, ...elements: Dimension[]): Element =>
    elements.some((element) => typeof element === "string") ? null : compute(...(elements as number[]));

function subtract(a: Dimension, b: Dimension): Element {
  if (typeof b === "number") return typeof a === "number" ? a - b : addDimensions(a, -b);
  return a === b ? 0 : null;
}

function divide(dtype: DType, a: Dimension, b: Dimension): Element {
  if (typeof a === "number" && typeof b === "number") return a / b;
  if (dtype.startsWith("float")) return null;
  const exact = divideShapes([a], [b]);
  if (exact !== null) return exact;
  return typeof b === "number" && b > 0 ? divideDimension(a, b) : null;
}

/** Sizes are never negative, and a symbolic one is taken to be more than 1, as everywhere. */
function compare(holds: (difference: number) => boolean) {
  return (_: DType, a: Dimension, b: Dimension): Element => {
    if (typeof a === "number" && typeof b === "number") return holds(a - b);
    if (a === b) return holds(0);
    if (typeof a === "string" && typeof b === "number" && b <= 1) return holds(1);
    if (typeof a === "number" && typeof b === "string" && a <= 1) return holds(-1);
    return null;
  };
}

/** The largest of sizes, or with `sign` −1 the smallest: of equal symbols, and of a symbol and numbers up to 1, it is known. */
const extreme =
  (sign: 1 | -1) =>
  (_: DType, ...elements: Dimension[]): Element => {
    const numbers = elements.filter((element) => typeof element === "number");
    const symbols = new Set(elements.filter((element) => typeof element === "string"));
    const most = sign * Math.max(...numbers.map((number) => sign * number));
    if (symbols.size === 0) return most;
    if (numbers.length === 0) return symbols.size === 1 ? [...symbols][0]! : null;
    if (sign === -1) return most <= 1 ? most : null;
    return symbols.size === 1 && most <= 1 ? [...symbols][0]! : null;
  };

/** Floats add and multiply exactly as numbers do; sums and products of symbols are formulas. */
const add = (_: DType, a: Dimension, b: Dimension) =>
  typeof a === "number" && typeof b === "number" ? a + b : addDimensions(a, b);
const multiply = (_: DType, a: Dimension, b: Dimension) =>
  typeof a === "number" && typeof b === "number" ? a * b : multiplyDimensions([a, b]);

const reduce =
  (combine: (elements: Shape) => Element): Fold =>
  (node) => {
    const source = node.known(0)!;
    const axes = axesOf(node);
    if (source.shape.length > 1 && axes != null) return null;
    const shape = node.int("keepdims", 1) === 1 ? source.shape.map(() => 1) : [];
    return [known(source.dtype, shape, [combine(source.elements)])];
  };

const rules: ReadonlyMap<string, Fold> = new Map<string, Fold>([
  [
    "Shape",
    (node) => {
      const { shape } = node.spec(0);
      const part = shape.slice(
        node.int("start", 0),
        node.attribute("end") === undefined ? undefined : node.int("end", 0),
      );
      return [known("int64", [part.length], part)];
    },
  ],
  ["Size", (node) => [known("int64", [], [multiplyDimensions(node.spec(0).shape)])]],
  ["Identity", (node) => [node.known(0)]],
  ["Cast", (node) => [known(dtypeOf(node.int("to", 0)), node.known(0)!.shape, node.known(0)!.elements)]],
  ["CastLike", (node) => [known(node.spec(1).dtype, node.known(0)!.shape, node.known(0)!.elements)]],
  ["Gather", gather],
  ["Slice", slice],
  ["Concat", concat],
  ["Squeeze", squeeze],
  ["Unsqueeze", unsqueeze],
  ["Reshape", reshape],
  ["Transpose", transpose],
  ["ConstantOfShape", (node) => constantOfShape(node)],
  ["Range", (node) => range(node)],
  ["Expand", (node) => expand(node)],
  ["Add", elementwise(add)],
  ["Sub", elementwise((_, a, b) => subtract(a, b))],
  ["Mul", elementwise(multiply)],
  ["Div", elementwise(divide)],
  ["Mod", elementwise(numeric((a, b) => a! - Math.floor(a! / b!) * b!))],
  ["Pow", elementwise(numeric((a, b) => a! ** b!))],
  ["Min", elementwise(extreme(-1))],
  ["Max", elementwise(extreme(1))],
  ["Neg", elementwise(numeric((a) => -a!))],
  ["Abs", elementwise(numeric((a) => Math.abs(a!)))],
  ["Sqrt", elementwise(numeric((a) => Math.sqrt(a!)))],
  ["Reciprocal", elementwise(numeric((a) => 1 / a!))],
  ["Floor", elementwise(numeric((a) => Math.floor(a!)))],
  ["Ceil", elementwise(numeric((a) => Math.ceil(a!)))],
  [
    "Equal",
    elementwise(
      compare((difference) => difference === 0),
      "bool",
    ),
  ],
  [
    "Less",
    elementwise(
      compare((difference) => difference < 0),
      "bool",
    ),
  ],
  [
    "LessOrEqual",
    elementwise(
      compare((difference) => difference <= 0),
      "bool",
    ),
  ],
  [
    "Greater",
    elementwise(
      compare((difference) => difference > 0),
      "bool",
    ),
  ],
  [
    "GreaterOrEqual",
    elementwise(
      compare((difference) => difference >= 0),
      "bool",
    ),
  ],
  [
    "And",
    elementwise(
      numeric((a, b) => a === 1 && b === 1),
      "bool",
    ),
  ],
  [
    "Or",
    elementwise(
      numeric((a, b) => a === 1 || b === 1),
      "bool",
    ),
  ],
  [
    "Not",
    elementwise(
      numeric((a) => a === 0),
      "bool",
    ),
  ],
  ["Where", elementwise((_, condition, a, b) => (condition === 1 ? a : b))],
  [
    "ReduceProd",
    reduce((elements) =>
      elements.every((e) => typeof e === "number") ? elements.reduce((a, b) => a * b, 1) : multiplyDimensions(elements),
    ),
  ],
  [
    "ReduceSum",
    reduce((elements) =>
      elements.every((e) => typeof e === "number") ? elements.reduce((a, b) => a + b, 0) : addDimensions(...elements),
    ),
  ],
  ["ReduceMin", reduce((elements) => extreme(-1)("int64", ...elements))],
  ["ReduceMax", reduce((elements) => extreme(1)("int64", ...elements))],
]);
