import { type DType, sizeOf, type Tensor } from "../../tensor.ts";
import {
  addDimensions,
  type Dimension,
  divideDimension,
  divideShapes,
  multiplyDimensions,
  type Shape,
} from "../dimensions.ts";
import { type Known, known, knownLimit, knownTensor } from "./known.ts";
import { dtypeOf, type ImportNode } from "./node.ts";

/** Computes a node's results when the program is traced, or null where they are not known then. */
type Fold = (node: ImportNode) => readonly (Known | null)[] | null;

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

/** Elements of a broadcast operand, in the order of the result's. */
function spreadTo({ shape, elements }: Known, target: readonly number[]): readonly Dimension[] {
  const lead = target.length - shape.length;
  return Array.from({ length: sizeOf(target) }, (_, place) => {
    let rest = place;
    let at = 0;
    let stride = 1;
    for (let axis = target.length - 1; axis >= lead; axis--) {
      const size = shape[axis - lead]!;
      if (size !== 1) at += (rest % target[axis]!) * stride;
      stride *= size;
      rest = Math.floor(rest / target[axis]!);
    }
    return elements[at]!;
  });
}

function commonShape(operands: readonly Known[]): readonly number[] | null {
  const rank = Math.max(...operands.map(({ shape }) => shape.length));
  const shape: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const sizes = operands.map((operand) => operand.shape[axis - rank + operand.shape.length] ?? 1);
    const size = sizes.find((candidate) => candidate !== 1) ?? 1;
    if (sizes.some((candidate) => candidate !== 1 && candidate !== size)) return null;
    shape.push(size);
  }
  return sizeOf(shape) > knownLimit ? null : shape;
}

function operands(node: ImportNode): readonly Known[] {
  return Array.from({ length: node.inputCount }, (_, index) => node.known(index)!);
}

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

/** Floats add and multiply exactly as numbers do; sums and products of symbols are formulas. */
const add = (_: DType, a: Dimension, b: Dimension) =>
  typeof a === "number" && typeof b === "number" ? a + b : addDimensions(a, b);
const multiply = (_: DType, a: Dimension, b: Dimension) =>
  typeof a === "number" && typeof b === "number" ? a * b : multiplyDimensions([a, b]);

/** Elements at the given places; `null` for a place outside. */
function take(source: Known, shape: readonly number[], places: readonly number[]): Known | null {
  return known(
    source.dtype,
    shape,
    places.map((place) => source.elements[place] ?? null),
  );
}

/** Running numbers of all elements of a tensor of this shape, with each axis replaced by the chosen indices. */
function placesOf(shape: readonly number[], chosen: readonly (readonly number[])[]): number[] {
  let places = [0];
  shape.forEach((size, axis) => {
    places = places.flatMap((place) => chosen[axis]!.map((index) => place * size + index));
  });
  return places;
}

function all(size: number): number[] {
  return Array.from({ length: size }, (_, index) => index);
}

function wholeNumbers(content: Known | null): readonly number[] | null {
  return content?.elements.every((element) => typeof element === "number") ? (content.elements as number[]) : null;
}

const gather: Fold = (node) => {
  const [source, indices] = operands(node) as [Known, Known];
  const axis = (node.int("axis", 0) + source.shape.length) % Math.max(1, source.shape.length);
  const size = source.shape[axis];
  const wanted = wholeNumbers(indices);
  if (size === undefined || wanted === null) return null;
  const chosen = source.shape.map((length, at) =>
    at === axis ? wanted.map((index) => (index < 0 ? index + size : index)) : all(length),
  );
  if (chosen[axis]!.some((index) => index < 0 || index >= size)) return null;
  const shape = [...source.shape.slice(0, axis), ...indices.shape, ...source.shape.slice(axis + 1)];
  return [take(source, shape, placesOf(source.shape, chosen))];
};

const slice: Fold = (node) => {
  const [source] = operands(node);
  const { shape } = source!;
  const list = (index: number, name: string) => (node.has(index) ? wholeNumbers(node.known(index)) : node.ints(name));
  const starts = list(1, "starts");
  const ends = list(2, "ends");
  if (starts == null || ends == null) return null;
  const axes = list(3, "axes") ?? all(starts.length);
  const steps = list(4, "steps") ?? starts.map(() => 1);
  const chosen = shape.map(all);
  axes.forEach((given, at) => {
    const axis = given < 0 ? given + shape.length : given;
    const size = shape[axis]!;
    const step = steps[at]!;
    const place = (index: number) =>
      Math.min(Math.max(index < 0 ? index + size : index, step > 0 ? 0 : -1), step > 0 ? size : size - 1);
    const picked: number[] = [];
    const end = place(ends[at]!);
    for (let index = place(starts[at]!); step > 0 ? index < end : index > end; index += step) picked.push(index);
    chosen[axis] = picked;
  });
  const result = chosen.map(({ length }) => length);
  return [take(source!, result, placesOf(shape, chosen))];
};

const concat: Fold = (node) => {
  const given = operands(node);
  if (given.some(({ shape }) => shape.length !== 1)) return null;
  const elements = given.flatMap((operand) => operand.elements);
  return [known(given[0]!.dtype, [elements.length], elements)];
};

const reshaped =
  (target: (node: ImportNode, shape: readonly number[]) => readonly number[] | null): Fold =>
  (node) => {
    const source = node.known(0)!;
    const shape = target(node, source.shape);
    return shape === null ? null : [known(source.dtype, shape, source.elements)];
  };

function axesOf(node: ImportNode): readonly number[] | null | undefined {
  return node.has(1) ? wholeNumbers(node.known(1)) : node.ints("axes");
}

const squeeze = reshaped((node, shape) => {
  const axes = axesOf(node)?.map((axis) => (axis < 0 ? axis + shape.length : axis));
  return shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis)));
});

const unsqueeze = reshaped((node, shape) => {
  const axes = axesOf(node);
  if (axes == null) return null;
  const result = [...shape];
  const rank = shape.length + axes.length;
  for (const axis of axes.map((given) => (given < 0 ? given + rank : given)).sort((a, b) => a - b))
    result.splice(axis, 0, 1);
  return result;
});

const reshape = reshaped((node, shape) => {
  const wanted = wholeNumbers(node.known(1))?.map((size, axis) => (size === 0 ? (shape[axis] ?? 0) : size));
  if (wanted === undefined) return null;
  const rest = sizeOf(wanted.filter((size) => size !== -1));
  return wanted.map((size) => (size === -1 ? sizeOf(shape) / rest : size));
});

function filled(value: Tensor | undefined, shape: readonly number[]): Known | null {
  const content = value === undefined ? null : knownTensor(value);
  const size = sizeOf(shape);
  if (size > knownLimit) return null;
  return known(content?.dtype ?? "float32", shape, Array<Dimension>(size).fill(content?.elements[0] ?? 0));
}

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
      const part = shape.slice(node.int("start", 0), node.attribute("end") === undefined ? undefined : node.int("end", 0));
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
  ["ConstantOfShape", (node) => constantOfShape(node)],
  ["Range", (node) => range(node)],
  ["Expand", (node) => expand(node)],
  ["Add", elementwise(add)],
  ["Sub", elementwise((_, a, b) => subtract(a, b))],
  ["Mul", elementwise(multiply)],
  ["Div", elementwise(divide)],
  ["Mod", elementwise(numeric((a, b) => a! - Math.floor(a! / b!) * b!))],
  ["Pow", elementwise(numeric((a, b) => a! ** b!))],
  ["Min", elementwise(numeric((...list) => Math.min(...list)))],
  ["Max", elementwise(numeric((...list) => Math.max(...list)))],
  ["Neg", elementwise(numeric((a) => -a!))],
  ["Abs", elementwise(numeric((a) => Math.abs(a!)))],
  ["Sqrt", elementwise(numeric((a) => Math.sqrt(a!)))],
  ["Reciprocal", elementwise(numeric((a) => 1 / a!))],
  ["Floor", elementwise(numeric((a) => Math.floor(a!)))],
  ["Ceil", elementwise(numeric((a) => Math.ceil(a!)))],
  ["Equal", elementwise(compare((difference) => difference === 0), "bool")],
  ["Less", elementwise(compare((difference) => difference < 0), "bool")],
  ["LessOrEqual", elementwise(compare((difference) => difference <= 0), "bool")],
  ["Greater", elementwise(compare((difference) => difference > 0), "bool")],
  ["GreaterOrEqual", elementwise(compare((difference) => difference >= 0), "bool")],
  ["And", elementwise(numeric((a, b) => a === 1 && b === 1), "bool")],
  ["Or", elementwise(numeric((a, b) => a === 1 || b === 1), "bool")],
  ["Not", elementwise(numeric((a) => a === 0), "bool")],
  ["Where", elementwise((_, condition, a, b) => (condition === 1 ? a : b))],
  ["ReduceProd", reduce((elements) => (elements.every((e) => typeof e === "number") ? elements.reduce((a, b) => a * b, 1) : multiplyDimensions(elements)))],
  ["ReduceSum", reduce((elements) => (elements.every((e) => typeof e === "number") ? elements.reduce((a, b) => a + b, 0) : addDimensions(...elements)))],
  ["ReduceMin", reduce((elements) => numeric((...list) => Math.min(...list))("int64", ...elements))],
  ["ReduceMax", reduce((elements) => numeric((...list) => Math.max(...list))("int64", ...elements))],
]);

function constantOfShape(node: ImportNode) {
  const shape = wholeNumbers(node.known(0));
  return shape === null ? null : [filled(node.tensor("value"), shape)];
}

function expand(node: ImportNode) {
  const source = node.known(0)!;
  const wanted = wholeNumbers(node.known(1));
  if (wanted === null) return null;
  const shape = commonShape([source, { dtype: "int64", shape: wanted, elements: [] }]);
  return shape === null ? null : [known(source.dtype, shape, spreadTo(source, shape))];
}

function range(node: ImportNode) {
  const [from, to, step] = operands(node).map(({ elements }) => elements[0]!);
  if (typeof from !== "number" || typeof to !== "number" || typeof step !== "number") return null;
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (length > knownLimit) return null;
  return [
    known(
      node.spec(0).dtype,
      [length],
      all(length).map((index) => from + index * step),
    ),
  ];
}
