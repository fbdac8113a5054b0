import { checkArguments, InputError, tensor, type training } from "@exitkit/core-gpu";

/** Text cut into windows of one length, [n, t]. */
export interface TokenWindows {
  /** Row by row. */
  readonly tokens: Int32Array;
  /** t */
  readonly length: number;
}

/**
 * Cuts a stream of tokens into windows of t tokens, one behind the other; what is left at the end is dropped.
 *
 * @throws InputError where t is not a whole number ≥ 2, or the text has fewer than t tokens.
 * @example
 * ```ts
 * import { cutWindows } from "@exitkit/llm-exit-init";
 * console.assert(cutWindows([1, 2, 3, 4, 5], 2).tokens.join() === "1,2,3,4");
 * ```
 */
export function cutWindows(tokens: ArrayLike<number>, length: number): TokenWindows {
  const caller = "llm-exit-init.cutWindows";
  if (!Number.isInteger(length) || length < 2) {
    throw new InputError(caller, "windows must have a whole number of tokens ≥ 2", `${length}`);
  }
  const given = tokens?.length ?? 0;
  if (given < length) {
    throw new InputError(
      caller,
      `text must have at least ${length} tokens`,
      `${given}`,
      "Pass more text, or shorter windows.",
    );
  }
  const n = Math.floor(given / length);
  return { tokens: Int32Array.from({ length: n * length }, (_, at) => Number(tokens[at])), length };
}

/** n of windows [n, t]. */
export function countWindows({ tokens, length }: TokenWindows): number {
  return tokens.length / length;
}

/** Windows from (included) to to (excluded). */
export function takeWindows({ tokens, length }: TokenWindows, from: number, to: number): TokenWindows {
  return { tokens: tokens.subarray(from * length, to * length), length };
}

/**
 * Windows as samples to train on: of t tokens each, `x` int64 [n, t − 1] are all but the last and `y` int64 [n, t − 1] all but the first, the
 * next token of each.
 */
export function windowDataset(windows: TokenWindows): training.Dataset {
  checkArguments("llm-exit-init.windowDataset", {
    windows: [windows, { tokens: "numbers or bigints", length: "a number" }],
  });
  const { tokens, length } = windows;
  const part = (indices: Int32Array, shift: number) => {
    const data = new BigInt64Array(indices.length * (length - 1));
    indices.forEach((window, row) => {
      for (let at = 0; at < length - 1; at++) {
        data[row * (length - 1) + at] = BigInt(tokens[window * length + at + shift]!);
      }
    });
    return tensor("int64", [indices.length, length - 1], data);
  };
  return { size: countWindows(windows), batch: (indices) => ({ x: part(indices, 0), y: part(indices, 1) }) };
}
