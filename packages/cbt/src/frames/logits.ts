import { InputError, sizeOf, type Tensor } from "@exitkit/core-gpu";

/** Scores before softmax of every pixel, float32 [n, k, h, w]. */
export type Logits = Tensor<"float32">;

/**
 * Refuses what are no logits [n, k, h, w] of k classes, and numbers that are not finite.
 *
 * @throws InputError naming the exit.
 */
export function checkLogits(caller: string, logits: Logits, classes: number | null, name: string): void {
  const { dtype, shape, data } = (logits ?? {}) as Partial<Logits>;
  const fits = shape?.length === 4 && (classes === null || shape[1] === classes) && data?.length === sizeOf(shape);
  if (dtype !== "float32" || !(data instanceof Float32Array) || !fits) {
    const actual = shape === undefined ? typeof logits : `${dtype} [${shape.join(", ")}], ${data?.length} elements`;
    throw new InputError(caller, `${name} must be float32 logits [n, ${classes ?? "k"}, h, w]`, actual);
  }
  let zero = 0;
  for (let at = 0; at < data.length; at++) zero += data[at]! * 0;
  if (zero === 0) return;
  const bad = data.findIndex((value) => !Number.isFinite(value));
  const [, k, h, w] = shape as [number, number, number, number];
  const place = `row ${Math.floor(bad / w) % h}, column ${bad % w} of frame ${Math.floor(bad / (k * h * w))}`;
  const fix = "Check the frame and its normalisation, and the network's weights.";
  throw new InputError(
    caller,
    `${name} must be finite`,
    `${data[bad]} for class ${Math.floor(bad / (h * w)) % k} at ${place}`,
    fix,
  );
}
