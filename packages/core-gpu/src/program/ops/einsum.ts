import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { type Dimension, multiplyDimensions } from "../dimensions.ts";
import { printSpec } from "../spec.ts";
import { isValue, type Value } from "../value.ts";
import { mul } from "./arithmetic.ts";
import { matmul } from "./linear.ts";
import { sum } from "./reduce.ts";
import { identity, reshape, transpose, unsqueeze } from "./shape.ts";

const caller = "core-gpu.ops.einsum";

/** A value and a letter for each of its axes. */
interface Lettered {
  readonly value: Value | Tensor;
  readonly letters: string;
}

/**
 * Sum of products by Einstein's notation, as NumPy's `einsum`: `"btd,dk->btk"`. Letters of the operands that are missing in
 * the result are summed over. Several operands are multiplied from the left to the right. ONNX MatMul, Transpose, Reshape
 * and ReduceSum.
 *
 * Differs: no `...` and no letter twice in one operand (diagonals); the part after `->` must be written.
 *
 * @param equation Letters a–z and A–Z for the axes of each operand, separated by commas, then `->` and the result's.
 * @throws InputError on another equation, or where sizes of one letter differ.
 * @example
 * ```ts
 * import { ops, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(({ q, k }) => ({ scores: ops.einsum("bqhd,bkhd->bhqk", q, k) }), {
 *   q: spec("float32", ["n", 5, 2, 4]),
 *   k: spec("float32", ["n", 7, 2, 4]),
 * });
 * console.assert(program.outputs[0]?.spec.shape.join() === "n,2,5,7");
 * ```
 */
export function einsum(equation: string, ...operands: readonly (Value | Tensor)[]): Value {
  checkArguments("core-gpu.ops.einsum", { equation: [equation, "a string"] });
  const { inputs, output } = parse(equation, operands);
  const sizes = sizesOf(equation, inputs);
  let [left, ...rest] = inputs as [Lettered, ...Lettered[]];
  while (rest.length > 0) {
    const [right, ...others] = rest as [Lettered, ...Lettered[]];
    const later = output + others.map(({ letters }) => letters).join("");
    left = multiply(summed(left, later + right.letters), summed(right, later + left.letters), later, sizes);
    rest = others;
  }
  const { value, letters } = summed(left, output);
  const ordered = permuted({ value, letters }, output);
  return isValue(ordered) ? ordered : identity(ordered);
}

function parse(equation: string, operands: readonly (Value | Tensor)[]) {
  const match = /^([a-zA-Z]*(?:,[a-zA-Z]*)*)->([a-zA-Z]*)$/.exec(equation.replaceAll(" ", ""));
  const terms = match?.[1]?.split(",") ?? [];
  const output = match?.[2] ?? "";
  const distinct = (letters: string): boolean => new Set(letters).size === letters.length;
  if (
    match === null ||
    ![...terms, output].every(distinct) ||
    [...output].some((letter) => !match[1]!.includes(letter))
  ) {
    const expectation =
      "the equation must be like \"ij,jk->ik\": no letter twice in a term, all of the result's in the operands'";
    throw new InputError(caller, expectation, `"${equation}"`);
  }
  const fits =
    terms.length === operands.length && terms.every((term, at) => term.length === operands[at]!.shape.length);
  if (!fits) {
    const actual = `"${equation}" for ${operands.map(printSpec).join(" and ")}`;
    throw new InputError(
      caller,
      "the equation must have one term for each operand and one letter for each axis",
      actual,
    );
  }
  return { inputs: terms.map((letters, at): Lettered => ({ value: operands[at]!, letters })), output };
}

function sizesOf(equation: string, inputs: readonly Lettered[]): ReadonlyMap<string, Dimension> {
  const sizes = new Map<string, Dimension>();
  for (const { value, letters } of inputs) {
    [...letters].forEach((letter, axis) => {
      const size = value.shape[axis]!;
      const known = sizes.get(letter) ?? size;
      if (known !== size) {
        throw new InputError(caller, `"${letter}" of "${equation}" must have one size`, `${known} and ${size}`);
      }
      sizes.set(letter, size);
    });
  }
  return sizes;
}

/** Without the letters nobody asks for any more. */
function summed({ value, letters }: Lettered, wanted: string): Lettered {
  const axes = [...letters].flatMap((letter, axis) => (wanted.includes(letter) ? [] : [axis]));
  if (axes.length === 0) return { value, letters };
  return { value: sum(value, { axes }), letters: [...letters].filter((letter) => wanted.includes(letter)).join("") };
}

function permuted({ value, letters }: Lettered, order: string): Value | Tensor {
  if (letters === order) return value;
  return transpose(
    value,
    [...order].map((letter) => letters.indexOf(letter)),
  );
}

/** One product: letters of both that are needed later are batches, the others of both are summed over. */
function multiply(left: Lettered, right: Lettered, later: string, sizes: ReadonlyMap<string, Dimension>): Lettered {
  const [inLeft, inRight] = [[...left.letters], [...right.letters]];
  const shared = inLeft.filter((letter) => right.letters.includes(letter));
  const batch = shared.filter((letter) => later.includes(letter)).join("");
  const inner = shared.filter((letter) => !later.includes(letter)).join("");
  const rows = inLeft.filter((letter) => !shared.includes(letter)).join("");
  const columns = inRight.filter((letter) => !shared.includes(letter)).join("");
  const shapeOf = (letters: string): Dimension[] => [...letters].map((letter) => sizes.get(letter)!);
  const letters = batch + rows + columns;
  if (inner === "") {
    // Nothing to sum over: a product of elements, broadcasting.
    const a = permuted(left, batch + rows);
    const b = permuted(right, batch + columns);
    const wide =
      columns === ""
        ? a
        : unsqueeze(
            a,
            [...columns].map((_, at) => batch.length + rows.length + at),
          );
    const high =
      rows === ""
        ? b
        : unsqueeze(
            b,
            [...rows].map((_, at) => batch.length + at),
          );
    return { value: mul(wide, high), letters };
  }
  const grouped = (
    operand: Lettered,
    first: string,
    second: string,
  ): { value: Value | Tensor; transposed: boolean } => {
    // The order the operand has already costs nothing: matmul takes either.
    const transposed = operand.letters === batch + second + first;
    const [outer, last] = transposed ? [second, first] : [first, second];
    const ordered = permuted(operand, batch + outer + last);
    if (outer.length === 1 && last.length === 1) return { value: ordered, transposed };
    const shape = [...shapeOf(batch), multiplyDimensions(shapeOf(outer)), multiplyDimensions(shapeOf(last))];
    return { value: reshape(ordered, shape), transposed };
  };
  const a = grouped(left, rows, inner);
  const b = grouped(right, inner, columns);
  const product = matmul(a.value, b.value, { transposeA: a.transposed, transposeB: b.transposed });
  const simple = rows.length === 1 && columns.length === 1;
  return { value: simple ? product : reshape(product, shapeOf(letters)), letters };
}
