import type { Spec } from "../program/spec.ts";
import type { Tfjs, TfjsTensor } from "./tfjs.ts";

/** One application of an operator, with data. */
export interface KernelCall<A extends object = object> {
  readonly attributes: A;
  readonly operands: readonly TfjsTensor[];
  readonly operandSpecs: readonly Spec[];
  readonly resultSpecs: readonly Spec[];
  /** The results' shapes, all sizes known; null for one that only the data tell. */
  readonly shapes: readonly (number[] | null)[];
}

/** What an operator computes, in terms of tfjs. Called within `tf.tidy`. */
export type Kernel<A extends object = object> = {
  // A method's type, so that kernels of different attributes share one table.
  run(tf: Tfjs, call: KernelCall<A>): TfjsTensor | readonly TfjsTensor[];
}["run"];

/** Kernels by the names of their operators. */
export type Kernels = Readonly<Record<string, Kernel>>;
