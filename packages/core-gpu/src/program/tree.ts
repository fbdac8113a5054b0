import { InputError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Spec } from "./spec.ts";
import type { Value } from "./value.ts";

/** Nested plain records and arrays with leaves of one type. */
export type Tree<Leaf> = Leaf | readonly Tree<Leaf>[] | { readonly [name: string]: Tree<Leaf> };

/** A record at the top, nested records and arrays of leaves below: what a program takes and gives. */
export type TreeRecord<Leaf> = { readonly [name: string]: Tree<Leaf> };

/**
 * The same tree with `Leaf` in place of every spec, value or tensor. A tree of which the type knows nothing (`Tree<Spec>`,
 * `Tree<Tensor>`, `any`) stays one of which it knows nothing: taking it apart would never end.
 */
export type WithLeaves<T, Leaf> = [Tree<Value>] extends [T]
  ? Tree<Leaf>
  : [Tree<Tensor>] extends [T]
    ? Tree<Leaf>
    : T extends { readonly dtype: string; readonly shape: readonly unknown[] }
      ? Leaf
      : T extends object
        ? { readonly [Key in keyof T]: WithLeaves<T[Key], Leaf> }
        : never;

/** The tree of symbolic values that a tree of specs stands for. */
export type ValuesOf<T> = WithLeaves<T, Value>;

/** The tree of specs of a tree of values. */
export type SpecsOf<T> = WithLeaves<T, Spec>;

/** One leaf and the path to it: keys joined by dots, `layers.0.weight`. */
export interface NamedLeaf<Leaf> {
  readonly name: string;
  readonly leaf: Leaf;
}

function isLeaf(node: unknown): node is Spec | Value | Tensor {
  const candidate = node as Partial<Spec> | null;
  return typeof candidate?.dtype === "string" && Array.isArray(candidate.shape);
}

function isBranch(node: unknown): node is Record<string, unknown> {
  if (typeof node !== "object" || node === null || ArrayBuffer.isView(node)) return false;
  const prototype: unknown = Object.getPrototypeOf(node);
  return Array.isArray(node) || prototype === Object.prototype || prototype === null;
}

/**
 * The same tree with every leaf replaced by `replace(leaf, name)`, name being the path to the leaf.
 *
 * @throws InputError where the tree holds anything but plain records, arrays and leaves.
 */
export function mapTree<T, Leaf>(
  caller: string,
  tree: T,
  replace: (leaf: Spec | Value | Tensor, name: string) => Leaf,
  path = "",
): WithLeaves<T, Leaf> {
  if (isLeaf(tree)) return replace(tree, path) as WithLeaves<T, Leaf>;
  if (!isBranch(tree)) {
    throw new InputError(
      caller,
      "the tree may hold only plain records, arrays and leaves with a dtype and a shape",
      `${tree === null || typeof tree !== "object" ? String(tree) : `a ${tree.constructor?.name ?? "object"}`} at "${path}"`,
    );
  }
  const below = (key: string | number, child: unknown) =>
    mapTree(caller, child, replace, path === "" ? String(key) : `${path}.${key}`);
  const mapped = Array.isArray(tree)
    ? tree.map((child, index) => below(index, child))
    : Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, below(key, child)]));
  return mapped as WithLeaves<T, Leaf>;
}

/**
 * The leaves of a tree in the order in which they stand, each with its path.
 *
 * @throws InputError where two leaves have the same path (`{ "a.b": x, a: { b: y } }`) or the tree is itself a leaf.
 */
export function flattenTree<T, Leaf extends Spec | Value | Tensor>(
  caller: string,
  tree: T,
): readonly NamedLeaf<Leaf>[] {
  const leaves: NamedLeaf<Leaf>[] = [];
  const names = new Set<string>();
  mapTree(caller, tree, (leaf, name) => {
    if (name === "")
      throw new InputError(caller, "a record of named leaves is expected", "a bare leaf", "Write { name: … }.");
    if (names.has(name)) throw new InputError(caller, "every path must be unique", `"${name}" twice`);
    names.add(name);
    leaves.push({ name, leaf: leaf as Leaf });
    return null;
  });
  return leaves;
}
