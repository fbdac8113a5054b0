import { ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";

/** Side of the window that left-out pixels are interpolated from. */
export const WINDOW = 7;

/**
 * The interpolation of a masked convolution, out = y·m + (y·m ∗ κ)·(1 − m), with κ_ij = exp(−λ²·dist²) ÷ (Σ exp(−λ²·dist²) + 1e-5) over
 * 7 × 7 places, the centre left out.
 *
 * @param y [1, c, h, w].
 * @param mask [1, 1, h, w], 1 where a pixel is computed.
 * Source: ADP-C's code, conv_mask [S]: the kernel is normalised by its own sum, not by that of the computed neighbours.
 */
export function interpolate(y: Value, mask: Value, lambda: number): Value {
  const c = y.shape[1] as number;
  const kept = ops.mul(y, mask);
  const around = ops.conv(kept, kernel(c, lambda), { padding: (WINDOW - 1) / 2, groups: c });
  return ops.add(kept, ops.mul(around, ops.sub(1, mask)));
}

function kernel(c: number, lambda: number): Tensor<"float32"> {
  const half = (WINDOW - 1) / 2;
  const weights = Array.from({ length: WINDOW * WINDOW }, (_, at) => {
    const distance = (Math.floor(at / WINDOW) - half) ** 2 + ((at % WINDOW) - half) ** 2;
    return distance === 0 ? 0 : Math.exp(-(lambda ** 2) * distance);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0) + 1e-5;
  const normalised = weights.map((weight) => weight / total);
  return tensor("float32", [c, 1, WINDOW, WINDOW], Array.from({ length: c }, () => normalised).flat());
}
