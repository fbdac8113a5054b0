import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import type { Operand, Value } from "../program/value.ts";
import type { Generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { type Initialiser, pytorchBias, pytorchWeight } from "./initialisers.ts";
import { initialiser } from "./linear.ts";

/** Parameters of {@link conv}, weight [out, in ÷ groups, (kernel h,) kernel w], or {@link convTranspose}; bias [out]. */
export type ConvParameters<Leaf = Tensor> = {
  readonly weight: Leaf;
  readonly bias?: Leaf;
};

/** Options of {@link initConv}. */
export interface InitConvOptions {
  /** Channels that go in. */
  readonly in: number;
  /** Channels that come out. */
  readonly out: number;
  /** Size of the window on each spatial axis; one number is a square window on two axes. */
  readonly kernel: number | readonly number[];
  /** Groups of channels that see only each other. Default 1. */
  readonly groups?: number;
  /** Whether something is added. Default true. */
  readonly bias?: boolean;
  /** How the weight starts. Default `pytorchWeight`. */
  readonly initialWeight?: Initialiser;
  /** How the bias starts. Default `pytorchBias`. */
  readonly initialBias?: Initialiser;
}

const size = z.int().min(1);
const options = z.strictObject({
  in: size,
  out: size,
  kernel: z.union([size.transform((side) => [side, side]), z.array(size).min(1).max(2)]),
  groups: size.default(1),
  bias: z.boolean().default(true),
  initialWeight: initialiser.optional(),
  initialBias: initialiser.optional(),
});

/**
 * First parameters of a convolution: weight [out, in ÷ groups, …kernel] and bias [out]. For a window on one axis pass
 * `kernel: [3]`.
 *
 * @throws InputError on an option that is unknown, missing or out of range, or groups that do not divide `in` and `out`.
 */
export function initConv(
  generator: Generator,
  given: InitConvOptions & { readonly bias: false },
): { readonly weight: Tensor };
export function initConv(generator: Generator, given: InitConvOptions): Required<ConvParameters>;
export function initConv(generator: Generator, given: InitConvOptions): ConvParameters {
  return initial(generator, "initConv", given, (out, input, groups) => [out, input / groups]);
}

/** Convolution over one or two spatial axes; see `ops.conv` for shapes and options. */
export function conv(params: ConvParameters<Value>, x: Operand, given?: Omit<ops.ConvOptions, "bias">): Value {
  checkArguments("core-gpu.layers.conv", { params: [params, { weight: "a traced value or a tensor" }] });
  return ops.conv(x, params.weight, { ...given, ...(params.bias === undefined ? {} : { bias: params.bias }) });
}

/**
 * First parameters of a transposed convolution: weight [in, out ÷ groups, …kernel] and bias [out].
 *
 * @throws InputError as {@link initConv}.
 */
export function initConvTranspose(
  generator: Generator,
  given: InitConvOptions & { readonly bias: false },
): { readonly weight: Tensor };
export function initConvTranspose(generator: Generator, given: InitConvOptions): Required<ConvParameters>;
export function initConvTranspose(generator: Generator, given: InitConvOptions): ConvParameters {
  return initial(generator, "initConvTranspose", given, (out, input, groups) => [input, out / groups]);
}

/** Transposed convolution over one or two spatial axes; see `ops.convTranspose` for shapes and options. */
export function convTranspose(
  params: ConvParameters<Value>,
  x: Operand,
  given?: Omit<ops.ConvTransposeOptions, "bias">,
): Value {
  checkArguments("core-gpu.layers.convTranspose", { params: [params, { weight: "a traced value or a tensor" }] });
  return ops.convTranspose(x, params.weight, { ...given, ...(params.bias === undefined ? {} : { bias: params.bias }) });
}

function initial(
  generator: Generator,
  name: string,
  given: InitConvOptions,
  channels: (out: number, input: number, groups: number) => readonly number[],
): ConvParameters {
  const caller = `core-gpu.layers.${name}`;
  const checked = parseOptions(caller, options, given);
  if (checked.in % checked.groups !== 0 || checked.out % checked.groups !== 0) {
    const actual = `${checked.in} and ${checked.out} channels in ${checked.groups} groups`;
    throw new InputError(caller, "groups must divide the channels that go in and that come out", actual);
  }
  const shape = [...channels(checked.out, checked.in, checked.groups), ...checked.kernel];
  const { initialWeight = pytorchWeight, initialBias = pytorchBias(shape) } = checked;
  const weight = initialWeight(generator, shape);
  return checked.bias ? { weight, bias: initialBias(generator, [checked.out]) } : { weight };
}
