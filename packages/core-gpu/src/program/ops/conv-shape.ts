import type { Shape } from "../dimensions.ts";
import { refuse, requireRank } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { knownSizes, makeWindow, type Padding, type PerAxis, slide } from "./window.ts";

/** Attributes of a convolution and of its gradients. */
export interface ConvAttributes {
  readonly stride: PerAxis;
  readonly padding: Padding;
  readonly dilation: PerAxis;
  readonly groups: number;
}

/** The shape rule of a convolution. */
export function convShape(x: Spec, weight: Spec, bias: Spec | undefined, attributes: ConvAttributes): Shape {
  const rank = x.shape.length;
  if (rank !== 3 && rank !== 4) refuse("x must be [n, c, w] or [n, c, h, w]");
  requireRank("weight", weight, rank);
  const { groups } = attributes;
  const [out, perGroup, ...kernel] = knownSizes("weight", weight.shape) as [number, number, ...number[]];
  if (x.shape[1] !== perGroup * groups)
    refuse(`x must have ${perGroup * groups} channels (weight's second dimension × ${groups} groups)`);
  if (out % groups !== 0) refuse(`weight's first dimension must be a multiple of the ${groups} groups`);
  requireBias(bias, out);
  const spatial = slide(x.shape.slice(2), kernel, makeWindow(rank - 2, attributes));
  return [x.shape[0]!, out, ...spatial];
}

/** Refuses a bias that is not one number for each of `out` channels. */
export function requireBias(bias: Spec | undefined, out: number): void {
  if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== out)) refuse(`bias must have shape [${out}]`);
}

/** All axes but the channels', which a bias's gradient is summed over. */
export function allButChannels(rank: number): readonly number[] {
  return Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis !== 1);
}
