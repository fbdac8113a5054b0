import { sizeOf, type Tensor } from "../../tensor.ts";
import type { Dimension } from "../dimensions.ts";
import { type Known, known, knownLimit, knownTensor } from "./known.ts";
import type { ImportNode } from "./node.ts";

/** Computes a node's results when the program is traced, or null where they are not known then. */
export type Fold = (node: ImportNode) => readonly (Known | null)[] | null;

/** Elements of a broadcast operand, in the order of the result's. */
export function spreadTo({ shape, elements }: Known, target: readonly number[]): readonly Dimension[] {
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

export function commonShape(operands: readonly Known[]): readonly number[] | null {
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

export function operands(node: ImportNode): readonly Known[] {
  return Array.from({ length: node.inputCount }, (_, index) => node.known(index)!);
}

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

export const gather: Fold = (node) => {
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

export const slice: Fold = (node) => {
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

export const concat: Fold = (node) => {
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

export function axesOf(node: ImportNode): readonly number[] | null | undefined {
  return node.has(1) ? wholeNumbers(node.known(1)) : node.ints("axes");
}

export const squeeze = reshaped((node, shape) => {
  const axes = axesOf(node)?.map((axis) => (axis < 0 ? axis + shape.length : axis));
  return shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis)));
});

export const unsqueeze = reshaped((node, shape) => {
  const axes = axesOf(node);
  if (axes == null) return null;
  const result = [...shape];
  const rank = shape.length + axes.length;
  for (const axis of axes.map((given) => (given < 0 ? given + rank : given)).sort((a, b) => a - b))
    result.splice(axis, 0, 1);
  return result;
});

export const reshape = reshaped((node, shape) => {
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

export function constantOfShape(node: ImportNode) {
  const shape = wholeNumbers(node.known(0));
  return shape === null ? null : [filled(node.tensor("value"), shape)];
}

export function expand(node: ImportNode) {
  const source = node.known(0)!;
  const wanted = wholeNumbers(node.known(1));
  if (wanted === null) return null;
  const shape = commonShape([source, { dtype: "int64", shape: wanted, elements: [] }]);
  return shape === null ? null : [known(source.dtype, shape, spreadTo(source, shape))];
}

export function range(node: ImportNode) {
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

export const transpose: Fold = (node) => {
  const { dtype, shape, elements } = node.known(0)!;
  const permutation = node.ints("perm") ?? shape.map((_, axis) => shape.length - 1 - axis);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  let places = [0];
  for (const axis of permutation) {
    places = places.flatMap((place) => all(shape[axis]!).map((index) => place + index * strides[axis]!));
  }
  const result = permutation.map((axis) => shape[axis]!);
  return [
    known(
      dtype,
      result,
      places.map((place) => elements[place]!),
    ),
  ];
};
