import { InputError, sizeOf, type Tensor } from "@exitkit/core-gpu";

/** Class ids of every pixel, [n, h, w]: 0 to k − 1, or the ignore label. */
export type LabelMap = Tensor<"uint8" | "int32">;

/** Label of pixels that count nowhere, where no other is given; Cityscapes' trainIds have it. */
export const IGNORE = 255;

/**
 * Refuses what is no label map [n, h, w], and ids that are neither a class nor the ignore label.
 *
 * @param source What the map is called in errors: a file, or "labels".
 * @throws InputError naming the source, the value and where it is.
 */
export function checkLabelMap(caller: string, labels: LabelMap, classes: number, ignore: number, source: string): void {
  const { dtype, shape, data } = (labels ?? {}) as Partial<LabelMap>;
  const typed = data instanceof Uint8Array || data instanceof Int32Array;
  if ((dtype !== "uint8" && dtype !== "int32") || !typed || shape?.length !== 3 || data.length !== sizeOf(shape)) {
    const actual = shape === undefined ? typeof labels : `${dtype} [${shape.join(", ")}], ${data?.length} elements`;
    const fix = 'Make one with tensor("uint8", [n, h, w], ids).';
    throw new InputError(caller, `${source} must be a uint8 or int32 tensor [n, h, w]`, actual, fix);
  }
  const [, h, w] = shape as [number, number, number];
  for (let at = 0; at < data.length; at++) {
    const id = data[at]!;
    if ((id >= 0 && id < classes) || id === ignore) continue;
    const [frame, row, column] = [Math.floor(at / (h * w)), Math.floor(at / w) % h, at % w];
    throw new InputError(
      caller,
      `${source} must hold classes 0 to ${classes - 1} or the ignore label ${ignore}`,
      `${id} at row ${row}, column ${column} of frame ${frame}`,
      "Map the data set's ids to training ids first (Cityscapes: labelIds to trainIds), or name its ignore label.",
    );
  }
}
