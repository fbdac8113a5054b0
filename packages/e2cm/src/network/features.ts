import { InputError, ops, type Value } from "@exitkit/core-gpu";

/**
 * What an exit reads from the tensor it is attached to.
 *
 * - `full`: the whole tensor, flattened (the paper's choice).
 * - `pooled`: its average over a 4×4 grid of the sample (2×2 or 1×1 where 4×4 would be more than 2,048 numbers, or the
 *   sample does not divide), for feature maps [c, h, w]; the average token, for token sequences [t, d].
 * - `moments`: `pooled`, and beside it the signed square roots of the channels' second moments E[x_i x_j] over each of four
 *   horizontal stripes of the sample (two, or the whole sample, where four would be more than 2,700 numbers; none where even
 *   one would).
 */
export type FeatureKind = "full" | "pooled" | "moments";

/** How one exit makes its features: fixed by the kind and the shape of the tapped tensor. Plain data. */
export interface FeatureMap {
  readonly kind: FeatureKind;
  /** Shape of one sample at the tap: [c, h, w], [t, d] or [d]. */
  readonly shape: readonly number[];
  /** Cells of the averaging grid along a side; 0: the tensor is flattened as it is. */
  readonly grid: number;
  /** Horizontal stripes that second moments are taken over: 4, 2, 1 (whole sample) or 0 (no moments). */
  readonly stripes: number;
  /** d: number of features, the second moments' symmetric halves counted once. */
  readonly d: number;
  /** Multiply–accumulates a sample that making the features costs, sums over cells counted as one each. */
  readonly macs: number;
}

const LARGEST_POOLED = 2048;
const LARGEST_MOMENTS = 2700;

/**
 * Chooses the feature map for a tensor whose samples have `shape`.
 *
 * @throws InputError when a sample has no elements or more than three dimensions.
 */
export function featureMap(
  kind: FeatureKind,
  shape: readonly number[],
  { caller = "e2cm.featureMap", tap = "" }: { readonly caller?: string; readonly tap?: string } = {},
): FeatureMap {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  if (size < 1 || shape.length < 1 || (shape.length > 3 && kind !== "full")) {
    throw new InputError(
      caller,
      `what an exit reads as "${kind}" must have shape [n, d], [n, t, d] or [n, c, h, w]`,
      `${tap === "" ? "" : `"${tap}" `}[n, ${shape.join(", ")}]`,
      'Choose other taps, or features: "full".',
    );
  }
  if (kind === "full" || shape.length === 1) return { kind, shape, grid: 0, stripes: 0, d: size, macs: 0 };
  if (shape.length === 2) return { kind, shape, grid: 1, stripes: 0, d: shape[1]!, macs: size };
  const [c, h, w] = shape as [number, number, number];
  const divides = (cells: number) => h % cells === 0 && w % cells === 0;
  const grid = [4, 2].find((cells) => divides(cells) && c * cells * cells <= LARGEST_POOLED) ?? 1;
  const pairs = (c * (c + 1)) / 2;
  const stripes =
    kind === "pooled" || h * w === 1
      ? 0
      : ([4, 2, 1].find((count) => h % count === 0 && pairs * count <= LARGEST_MOMENTS) ?? 0);
  const d = c * grid * grid + pairs * stripes;
  const macs = size + (stripes > 0 ? c * c * h * w : 0);
  return { kind, shape, grid, stripes, d, macs };
}

/**
 * The features of every sample, x [n, ...shape] → [n, d].
 *
 * @param x The tapped tensor, float32.
 */
export function features(x: Value, map: FeatureMap): Value {
  const n = x.shape[0]!;
  if (map.grid === 0) return ops.reshape(x, [n, map.d]);
  if (map.shape.length === 2) return ops.mean(x, { axes: [1], keepDimensions: false });
  const pooled = poolToGrid(x, map);
  if (map.stripes === 0) return pooled;
  const c = map.shape[0]!;
  const moments = ops.reshape(secondMoments(x, map), [n, map.stripes * c * c]);
  return ops.concat([pooled, ops.gather(moments, upperTriangles(c, map.stripes), { axis: 1 })], 1);
}

/** Average over a grid of cells: [n, c, h, w] → [n, c·grid²]. */
export function poolToGrid(x: Value, { shape, grid }: FeatureMap): Value {
  const [c, h, w] = shape as [number, number, number];
  const n = x.shape[0]!;
  if (h === grid && w === grid) return ops.reshape(x, [n, c * grid * grid]);
  const cell = [h / grid, w / grid] as const;
  const pooled = grid === 1 ? ops.globalAveragePool(x) : ops.averagePool(x, { kernel: cell, stride: cell });
  return ops.reshape(pooled, [n, c * grid * grid]);
}

/** Signed square roots of the channels' second moments in each horizontal stripe: [n, c, h, w] → [n, stripes, c, c]. */
export function secondMoments(x: Value, { shape, stripes }: FeatureMap): Value {
  const [c, h, w] = shape as [number, number, number];
  const n = x.shape[0]!;
  const positions = (h * w) / stripes;
  // A stripe of a channel is contiguous in memory: moving stripes before channels copies whole runs. The reshape behind it
  // keeps the runtime from merging the two transposes into one that moves single elements.
  const byStripe = ops.transpose(ops.reshape(x, [n, c, stripes, positions]), [0, 2, 1, 3]);
  const each = ops.reshape(byStripe, [-1, c, positions]);
  const products = ops.matmul(each, ops.transpose(each, [0, 2, 1]));
  const moments = ops.reshape(ops.mul(products, 1 / positions), [n, stripes, c, c]);
  return ops.sub(ops.sqrt(ops.relu(moments)), ops.sqrt(ops.relu(ops.neg(moments))));
}

/** Positions of i ≤ j in `stripes` row-major c×c matrices laid one after another. */
function upperTriangles(c: number, stripes: number): { dtype: "int64"; shape: number[]; data: BigInt64Array } {
  const positions: bigint[] = [];
  for (let stripe = 0; stripe < stripes; stripe++) {
    for (let i = 0; i < c; i++) for (let j = i; j < c; j++) positions.push(BigInt((stripe * c + i) * c + j));
  }
  return { dtype: "int64", shape: [positions.length], data: BigInt64Array.from(positions) };
}
