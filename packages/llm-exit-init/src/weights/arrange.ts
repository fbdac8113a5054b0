import type { Tensor } from "@exitkit/core-gpu";

type Rows = Tensor<"float32">;
type Arrange = (given: Rows) => Rows;

const make = (shape: readonly number[], data: Float32Array<ArrayBuffer>): Rows => ({ dtype: "float32", shape, data });

/** Size of an entry of the first axis. */
const widthOf = ({ shape }: Rows): number => shape.slice(1).reduce((product, size) => product * size, 1);

/** The rows of a matrix, or elements of a list, in another order; `order` may leave some out. */
function rowsInOrder(given: Rows, order: ArrayLike<number>): Rows {
  const width = widthOf(given);
  const data = new Float32Array(order.length * width);
  for (let row = 0; row < order.length; row++) {
    data.set(given.data.subarray(order[row]! * width, (order[row]! + 1) * width), row * width);
  }
  return make([order.length, ...given.shape.slice(1)], data);
}

/** Rows from … to − 1. */
export function rowRange(from: number, to: number): Arrange {
  return (given) => {
    const width = widthOf(given);
    return make([to - from, ...given.shape.slice(1)], Float32Array.from(given.data.subarray(from * width, to * width)));
  };
}

/** A matrix [in, out] as a linear layer's weight: columns from … to − 1 as rows, [to − from, in]. */
export function columnsAsRows(from: number, to: number): Arrange {
  return (given) => {
    const [rows, columns] = given.shape as [number, number];
    const data = new Float32Array((to - from) * rows);
    for (let column = from; column < to; column++) {
      for (let row = 0; row < rows; row++) data[(column - from) * rows + row] = given.data[row * columns + column]!;
    }
    return make([to - from, rows], data);
  };
}

/** One of several parts that stand head by head: rows [heads · parts · h] → those of a part, [heads · h]. */
export function partOfHeads(heads: number, parts: number, part: number): Arrange {
  return (given) => {
    const h = given.shape[0]! / (heads * parts);
    return rowsInOrder(
      given,
      Int32Array.from({ length: heads * h }, (_, row) => (Math.floor(row / h) * parts + part) * h + (row % h)),
    );
  };
}

/**
 * The order that turns rows for rotary pairs (i, i + h/2) into rows for pairs (2i, 2i + 1), head by head, as GGUF files of
 * Llama hold queries and keys: eight rows of one head become 0 4 1 5 2 6 3 7.
 */
export function pairsOrder(rows: number, heads: number): Int32Array {
  const h = rows / heads;
  return Int32Array.from({ length: rows }, (_, row) => {
    const within = row % h;
    return row - within + (within % 2) * (h / 2) + Math.floor(within / 2);
  });
}

/** Undoes {@link pairsOrder}: rows as Hugging Face's files have them. */
export function halvesFromPairs(heads: number): Arrange {
  return (given) => {
    const order = pairsOrder(given.shape[0]!, heads);
    const back = new Int32Array(order.length);
    order.forEach((from, row) => {
      back[from] = row;
    });
    return rowsInOrder(given, back);
  };
}
