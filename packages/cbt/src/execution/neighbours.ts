import { type Tensor, tensor } from "@exitkit/core-gpu";

/** A window that slides over a plane. */
export interface PlaneWindow {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  /** Before the first row and column. */
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
}

/**
 * For each place of the new plane the rows of the old one that its window covers, int32 [h'·w', kernel]; the padding is row h·w.
 *
 * @param from [h, w] of the old plane.
 * @param to [h', w'] of the new one.
 */
export function neighbourTable(
  from: readonly [number, number],
  to: readonly [number, number],
  { kernel, stride, padding, dilation }: PlaneWindow,
): Tensor<"int32"> {
  const [h, w] = from;
  const table = tensor("int32", [to[0] * to[1], kernel[0] * kernel[1]]);
  let at = 0;
  for (let y = 0; y < to[0]; y++) {
    for (let x = 0; x < to[1]; x++) {
      for (let i = 0; i < kernel[0]; i++) {
        for (let j = 0; j < kernel[1]; j++) {
          const row = y * stride[0] - padding[0] + i * dilation[0];
          const column = x * stride[1] - padding[1] + j * dilation[1];
          table.data[at++] = row >= 0 && row < h && column >= 0 && column < w ? row * w + column : h * w;
        }
      }
    }
  }
  return table;
}
