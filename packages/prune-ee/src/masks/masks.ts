import { InputError, layers, type Tensor, tensor } from "@exitkit/core-gpu";
import type { ExitParameters } from "@exitkit/early-exit";

/** For each pruned weight, by its path in {@link ExitParameters}, which elements stay: bool of the weight's shape, 1 = stays. */
export type Masks = Readonly<Record<string, Tensor<"bool">>>;

/** A layer's weights, counted. */
export interface LayerSparsity {
  /** The weight's path in {@link ExitParameters}. */
  readonly path: string;
  /** Elements. */
  readonly size: number;
  /** Elements that are exactly 0. */
  readonly zeros: number;
  /** `zeros ÷ size` */
  readonly sparsity: number;
}

/**
 * The parameters with every pruned weight set to 0; what has no mask is shared, not copied.
 *
 * @throws InputError where a mask is of no parameter, or of another shape.
 */
export function applyMasks(params: ExitParameters, masks: Masks): ExitParameters {
  const caller = "prune-ee.applyMasks";
  const flat = layers.flattenParameters(checkedParameters(caller, params));
  for (const [path, mask] of Object.entries(checkedMasks(caller, masks))) {
    const weight = flat[path];
    const expectation = `the masks must be of these parameters: "${path}"`;
    if (weight === undefined) throw new InputError(caller, expectation, "no such parameter");
    if (weight.dtype !== "float32" || weight.shape.join() !== mask.shape.join()) {
      throw new InputError(caller, `${expectation} ${weight.dtype} [${weight.shape}]`, `a mask [${mask.shape}]`);
    }
    const kept = weight.data.map((value, at) => (mask.data[at] === 1 ? value : 0));
    flat[path] = tensor("float32", weight.shape, kept);
  }
  return layers.unflattenParameters(flat, params);
}

/**
 * Zeros of some weights, as the parameters hold them and not as masks say: whether pruned weights stayed pruned can be read off.
 *
 * @param paths Of the weights, e.g. `Object.keys(masks)`.
 * @throws InputError where a path is of no parameter.
 */
export function sparsityOf(params: ExitParameters, paths: readonly string[]): readonly LayerSparsity[] {
  const caller = "prune-ee.sparsityOf";
  const flat = layers.flattenParameters(checkedParameters(caller, params));
  if (!Array.isArray(paths)) throw new InputError(caller, "paths must be a list", typeof paths);
  return paths.map((path) => {
    const weight = flat[path];
    if (weight === undefined) throw new InputError(caller, "paths must be of the parameters", `"${path}"`);
    const { length: size } = weight.data;
    let zeros = 0;
    for (const value of weight.data) if (Number(value) === 0) zeros++;
    return { path, size, zeros, sparsity: zeros / size };
  });
}

/** `zeros ÷ size` of several layers together. */
export function totalSparsity(layers: readonly LayerSparsity[]): number {
  const sum = (key: "size" | "zeros") => layers.reduce((total, layer) => total + layer[key], 0);
  return sum("zeros") / sum("size");
}

/** Elements that stay. */
export function countKept({ data }: Tensor<"bool">): number {
  let kept = 0;
  for (const value of data) kept += value;
  return kept;
}

function checkedParameters(caller: string, params: ExitParameters): ExitParameters {
  if (Array.isArray(params?.exits) && typeof params.backbone === "object") return params;
  throw new InputError(caller, "parameters of an exit network are needed", typeof params, "Pass { backbone, exits }.");
}

/** @throws InputError unless it is a record of bool tensors. */
export function checkedMasks(caller: string, masks: Masks): Masks {
  if (typeof masks !== "object" || masks === null) {
    throw new InputError(caller, "masks must be a record of bool tensors by path", String(masks));
  }
  for (const [path, mask] of Object.entries(masks)) {
    if (mask?.dtype === "bool" && mask.data instanceof Uint8Array) continue;
    throw new InputError(caller, `the mask of "${path}" must be a bool tensor`, String(mask?.dtype));
  }
  return masks;
}
