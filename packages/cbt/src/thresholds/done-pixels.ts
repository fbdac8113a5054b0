import { asTensor, InputError, type RuntimeTensor, sizeOf, type Tensor } from "@exitkit/core-gpu";

/**
 * Which pixels are done: every channel k of the softmax map is compared with the threshold of its class, and the masks are joined
 * by OR. For thresholds ≥ ½ that is "the largest probability exceeds the threshold of the predicted class", as no second one can.
 *
 * @param probabilities float32 [n, k, h, w], after softmax; compared strictly, with thresholds rounded to float32.
 * @param thresholds [k]; or one number for all classes, the single threshold of ADP-C.
 * @returns uint8 [n, h, w], 1 where a pixel is done.
 * @throws InputError on probabilities of another dtype or shape or outside [0, 1], or thresholds that are not k numbers.
 * Source: CBT, step 5, and Fig. 2 of the letter [S].
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { donePixels } from "@exitkit/cbt";
 * const probabilities = tensor("float32", [1, 2, 1, 2], [0.95, 0.1, 0.05, 0.9]);
 * console.assert(donePixels(probabilities, [0.9, 0.97]).data.join() === "1,0"); // the second class asks for more
 * console.assert(donePixels(probabilities, 0.85).data.join() === "1,1");
 * ```
 */
export function donePixels(
  probabilities: Tensor<"float32"> | RuntimeTensor,
  thresholds: readonly number[] | number,
): Tensor<"uint8"> {
  const caller = "cbt.donePixels";
  const { dtype, shape, data } = (asTensor(probabilities) ?? {}) as Partial<Tensor<"float32">>;
  if (dtype !== "float32" || !(data instanceof Float32Array) || shape?.length !== 4 || data.length !== sizeOf(shape)) {
    const actual = shape === undefined ? typeof probabilities : `${dtype} [${shape.join(", ")}]`;
    throw new InputError(caller, "probabilities must be float32 [n, k, h, w]", actual);
  }
  const [n, k, h, w] = shape as [number, number, number, number];
  const held = heldThresholds(caller, thresholds, k);
  const size = h * w;
  const done = new Uint8Array(n * size);
  for (let frame = 0; frame < n; frame++) {
    for (let c = 0; c < k; c++) {
      const first = (frame * k + c) * size;
      for (let i = 0; i < size; i++) {
        const probability = data[first + i]!;
        if (!(probability >= 0 && probability <= 1)) {
          const expectation = "probabilities must be in [0, 1]";
          const place = `class ${c}, row ${Math.floor(i / w)}, column ${i % w} of frame ${frame}`;
          throw new InputError(caller, expectation, `${probability} at ${place}`, "Apply softmax to logits first.");
        }
        if (probability > held[c]!) done[frame * size + i] = 1;
      }
    }
  }
  return { dtype: "uint8", shape: [n, h, w], data: done };
}

/** [k] thresholds as a running network holds them: float32. */
export function heldThresholds(caller: string, thresholds: readonly number[] | number, k: number): Float32Array {
  const list = typeof thresholds === "number" ? new Array<number>(k).fill(thresholds) : thresholds;
  const numbers = Array.isArray(list) && list.every((value) => typeof value === "number" && !Number.isNaN(value));
  if (numbers && list.length === k) return Float32Array.from(list);
  const actual = numbers ? `${list.length}` : (JSON.stringify(thresholds) ?? typeof thresholds);
  throw new InputError(caller, `thresholds must be ${k} numbers, one for each class, or one for all`, actual);
}
