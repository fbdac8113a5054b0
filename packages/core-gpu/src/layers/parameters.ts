import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import type { Dimension } from "../program/dimensions.ts";
import type { Spec } from "../program/spec.ts";
import { flattenTree, mapTree, type SpecsOf, type Tree, type TreeRecord } from "../program/tree.ts";
import type { Value } from "../program/value.ts";
import { sizeOf, type Tensor } from "../tensor.ts";

type Leaf = Spec | Value | Tensor;
type Statistic = "runningMean" | "runningVariance";

/** A tree without the running statistics of its batch norms. */
export type Trainable<T> = T extends { readonly dtype: string; readonly shape: readonly unknown[] }
  ? T
  : T extends readonly unknown[]
    ? { readonly [Key in keyof T]: Trainable<T[Key]> }
    : { readonly [Key in keyof T as Key extends Statistic ? never : Key]: Trainable<T[Key]> };

/**
 * The part of a tree of parameters that gradients change: all but the leaves called `runningMean` and `runningVariance`,
 * which a training step replaces by what its batch norms saw.
 *
 * @example
 * ```ts
 * import { generator, layers } from "@exitkit/core-gpu";
 * const params = { norm: layers.initBatchNorm(8) };
 * console.assert(Object.keys(layers.trainable(params).norm).join() === "weight,bias");
 * ```
 */
export function trainable<T>(params: T): Trainable<T> {
  checkArguments("core-gpu.layers.trainable", { params: [params, "an object"] });
  const without = (node: unknown): unknown => {
    if (isLeaf(node) || typeof node !== "object" || node === null) return node;
    if (Array.isArray(node)) return node.map(without);
    const kept = Object.entries(node).filter(([key]) => !isStatistic(key));
    return Object.fromEntries(kept.map(([key, child]) => [key, without(child)]));
  };
  return without(params) as Trainable<T>;
}

/** Whether a parameter's path names a running statistic, `norm.runningMean`, and not a weight. */
export function isStatistic(path: string): boolean {
  checkArguments("core-gpu.layers.isStatistic", { path: [path, "a string"] });
  return /(^|\.)(runningMean|runningVariance)$/.test(path);
}

/**
 * A tree of parameters with some leaves replaced: what an optimiser or a batch norm gives, put back in its place. Later
 * trees win.
 *
 * @param updates Trees with some of the paths of `params`.
 * @throws InputError where an update has a path that `params` does not have.
 */
export function mergeParameters<const T>(params: T, ...updates: readonly unknown[]): T {
  const caller = "core-gpu.layers.mergeParameters";
  const replaced = new Map<string, unknown>();
  const known = new Set<string>();
  mapTree(caller, params, (_, name) => void known.add(name));
  for (const update of updates) {
    mapTree(caller, update, (leaf, name) => {
      if (!known.has(name)) {
        const paths = [...known].slice(0, 8).join(", ");
        throw new InputError(caller, "updates may have only paths of the parameters", `"${name}"`, `Paths: ${paths}.`);
      }
      replaced.set(name, leaf);
    });
  }
  return mapTree(caller, params, (leaf, name) => replaced.get(name) ?? leaf) as T;
}

/** The tree of specs of a tree of tensors; of one whose structure its type does not know, such as an optimiser's state, too. */
export type SpecsOfTensors<T> = TreeRecord<Tensor> extends T ? TreeRecord<Spec> : SpecsOf<T>;

/** The specs of a tree of tensors, to trace a function of them with. */
export function specsOf<const T>(params: T): SpecsOfTensors<T> {
  const specs = mapTree("core-gpu.layers.specsOf", params as unknown, ({ dtype, shape }): Spec => ({ dtype, shape }));
  return specs as SpecsOfTensors<T>;
}

/** Number of elements of all float leaves of a tree, running statistics not counted. */
export function countParameters(params: Tree<Tensor>): number {
  const leaves = flattenTree<object, Tensor>("core-gpu.layers.countParameters", { params });
  return leaves
    .filter(({ name, leaf }) => leaf.dtype.startsWith("float") && !isStatistic(name))
    .reduce((sum, { leaf }) => sum + sizeOf(leaf.shape as readonly number[]), 0);
}

/** A tree of tensors or values as one record by path, `{ "block.0.weight": … }`: as runners and safetensors files name them. */
export function flattenParameters(params: TreeRecord<Tensor>): Record<string, Tensor>;
export function flattenParameters(params: TreeRecord<Value>): Record<string, Value>;
export function flattenParameters(params: object): Record<string, Tensor | Value> {
  const leaves = flattenTree<object, Tensor | Value>("core-gpu.layers.flattenParameters", params);
  return Object.fromEntries(leaves.map(({ name, leaf }) => [name, leaf]));
}

/**
 * The tree `like` with the tensors of a flat record in place of its leaves: {@link flattenParameters} undone, names checked.
 *
 * @param like A tree of tensors or specs with the wanted structure.
 * @param prefix Put before every path, `params.`. Default none; names in `flat` that do not begin with it are ignored.
 * @throws InputError naming every path that is missing, left over, or of another dtype or shape.
 */
export function unflattenParameters<const T>(flat: Readonly<Record<string, Tensor>>, like: T, prefix = ""): T {
  const caller = "core-gpu.layers.unflattenParameters";
  const leaves = flattenTree<object, Spec>(caller, like as object);
  const expected = new Map(leaves.map(({ name, leaf }) => [prefix + name, leaf]));
  const problems = nameProblems(
    expected,
    Object.fromEntries(Object.entries(flat).filter(([name]) => name.startsWith(prefix))),
  );
  if (problems !== null)
    throw new InputError(
      caller,
      "the tensors must be those of the tree by name",
      problems,
      "Are they of another network? Names are paths joined by dots.",
    );
  return mapTree(caller, like, (_, name) => flat[prefix + name]!) as T;
}

/** How tensors differ from the expected ones by name, dtype and shape (symbols take any size); null where they do not. */
export function nameProblems(
  expected: ReadonlyMap<string, Spec>,
  given: Readonly<Record<string, Tensor>>,
): string | null {
  const missing = [...expected.keys()].filter((name) => given[name] === undefined);
  const unknown = Object.keys(given).filter((name) => !expected.has(name));
  const different = [...expected].flatMap(([name, { dtype, shape }]) => {
    const found = given[name];
    if (found === undefined || (found.dtype === dtype && fits(shape, found.shape))) return [];
    return [`"${name}" is ${found.dtype} [${found.shape.join(", ")}], not ${dtype} [${shape.join(", ")}]`];
  });
  const problems = [
    ...(missing.length === 0 ? [] : [`missing ${listed(missing)}`]),
    ...(unknown.length === 0 ? [] : [`unknown ${listed(unknown)}`]),
    ...different.slice(0, 4),
  ];
  return problems.length === 0 ? null : problems.join("; ");
}

function fits(expected: readonly Dimension[], found: readonly number[]): boolean {
  return (
    expected.length === found.length && expected.every((size, axis) => typeof size === "string" || size === found[axis])
  );
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 4).map((name) => `"${name}"`);
  return shown.join(", ") + (names.length > 4 ? ` and ${names.length - 4} more` : "");
}

function isLeaf(node: unknown): node is Leaf {
  const candidate = node as Partial<Spec> | null;
  return typeof candidate?.dtype === "string" && Array.isArray(candidate.shape);
}
