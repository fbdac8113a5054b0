import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import type { Generator } from "../random.ts";
import { type Tensor, tensor } from "../tensor.ts";

/** Makes the first value of a parameter: float32 of the shape asked for, drawn from the generator. */
export type Initialiser = (generator: Generator, shape: readonly number[]) => Tensor<"float32">;

/** What each nonlinearity scales the spread of its input by; see {@link gain}. */
export type Nonlinearity = "linear" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";

/** Options of {@link xavierUniform} and {@link xavierNormal}. */
export interface XavierOptions {
  /** Factor on the standard deviation; `gain("relu")` and the like. Default 1. */
  readonly gain?: number;
}

/** Options of {@link kaimingUniform} and {@link kaimingNormal}. */
export interface KaimingOptions {
  /** Keep the variance of activations (`fanIn`) or of gradients (`fanOut`). Default `fanIn`. */
  readonly mode?: "fanIn" | "fanOut";
  /** What follows the layer. Default `relu`. */
  readonly nonlinearity?: Nonlinearity;
  /** Slope of `leakyRelu` below zero. Default 0.01. */
  readonly negativeSlope?: number;
}

/** Options of {@link truncatedNormal}. */
export interface TruncatedNormalOptions {
  /** Mean of the normal distribution before it is cut. Default 0. */
  readonly mean?: number;
  /** Standard deviation of the normal distribution before it is cut. Default 1. */
  readonly standardDeviation?: number;
  /** Least value. Default −2. */
  readonly low?: number;
  /** Greatest value. Default 2. */
  readonly high?: number;
}

const nonlinearities = ["linear", "sigmoid", "tanh", "relu", "leakyRelu", "selu"] as const;

const xavierOptions = z.strictObject({ gain: z.number().positive().default(1) });

const kaimingOptions = z.strictObject({
  mode: z.enum(["fanIn", "fanOut"]).default("fanIn"),
  nonlinearity: z.enum(nonlinearities).default("relu"),
  negativeSlope: z.number().default(0.01),
});

const gainArguments = z.strictObject({ nonlinearity: z.enum(nonlinearities), negativeSlope: z.number() });

const truncatedOptions = z.strictObject({
  mean: z.number().default(0),
  standardDeviation: z.number().positive().default(1),
  low: z.number().default(-2),
  high: z.number().default(2),
});

/** All elements `value`. Draws nothing. */
export function constant(value: number): Initialiser {
  checkArguments("core-gpu.layers.constant", { value: [value, "a number"] });
  return (_, shape) => {
    const made = tensor("float32", shape);
    made.data.fill(value);
    return made;
  };
}

/** All elements 0. Draws nothing. */
export const zeros: Initialiser = constant(0);

/** All elements 1. Draws nothing. */
export const ones: Initialiser = constant(1);

/** Uniform in [low, high). Default 0 and 1. @throws InputError unless low < high, both finite. */
export function uniform(low = 0, high = 1): Initialiser {
  if (!(Number.isFinite(low) && Number.isFinite(high) && low < high)) {
    throw new InputError("core-gpu.layers.uniform", "low < high, both finite", `${low} and ${high}`);
  }
  return (generator, shape) => drawn(generator, shape, () => low + (high - low) * generator.uniform());
}

/** Normal with a mean (default 0) and a standard deviation (default 1). @throws InputError unless both are finite, the latter ≥ 0. */
export function normal(mean = 0, standardDeviation = 1): Initialiser {
  if (!(Number.isFinite(mean) && Number.isFinite(standardDeviation) && standardDeviation >= 0)) {
    const actual = `mean ${mean}, standard deviation ${standardDeviation}`;
    throw new InputError("core-gpu.layers.normal", "mean finite, standard deviation finite and ≥ 0", actual);
  }
  return (generator, shape) => drawn(generator, shape, () => mean + standardDeviation * generator.normal());
}

/**
 * Normal with what lies outside [low, high] drawn again (PyTorch's `trunc_normal_`). The bounds are absolute, as there:
 * with the default ±2 and a standard deviation of 0.02 nothing is cut. For a cut at two standard deviations, as JAX and
 * TensorFlow mean it, pass `low: -2 * s, high: 2 * s`.
 *
 * @throws InputError on an option out of range, or bounds that the distribution hardly reaches (less than 1 in 1,000).
 */
export function truncatedNormal(options?: TruncatedNormalOptions): Initialiser {
  const caller = "core-gpu.layers.truncatedNormal";
  const { mean, standardDeviation, low, high } = parseOptions(caller, truncatedOptions, options);
  // The tails beyond 3.3 standard deviations hold less than a thousandth: drawing again would take for ever there.
  const reached = low < high && low < mean + 3 * standardDeviation && high > mean - 3 * standardDeviation;
  if (!reached || high - low < standardDeviation / 250) {
    const actual = `[${low}, ${high}] for mean ${mean} and standard deviation ${standardDeviation}`;
    throw new InputError(caller, "[low, high] must hold a good part of the distribution", actual);
  }
  return (generator, shape) =>
    drawn(generator, shape, () => {
      for (;;) {
        const value = Math.fround(mean + standardDeviation * generator.normal());
        if (value >= low && value <= high) return value;
      }
    });
}

/** Uniform in ±gain·√(6 ÷ (fanIn + fanOut)). Source: Glorot and Bengio 2010; PyTorch's `xavier_uniform_`. */
export function xavierUniform(options?: XavierOptions): Initialiser {
  const { gain } = parseOptions("core-gpu.layers.xavierUniform", xavierOptions, options);
  return (generator, shape) => {
    const { fanIn, fanOut } = fans(shape);
    return within(gain * Math.sqrt(6 / (fanIn + fanOut)), generator, shape);
  };
}

/** Normal, standard deviation gain·√(2 ÷ (fanIn + fanOut)). Source: Glorot and Bengio 2010; PyTorch's `xavier_normal_`. */
export function xavierNormal(options?: XavierOptions): Initialiser {
  const { gain } = parseOptions("core-gpu.layers.xavierNormal", xavierOptions, options);
  return (generator, shape) => {
    const { fanIn, fanOut } = fans(shape);
    return normal(0, gain * Math.sqrt(2 / (fanIn + fanOut)))(generator, shape);
  };
}

/** Uniform in ±gain·√(3 ÷ fan). Source: He et al. 2015; PyTorch's `kaiming_uniform_`. */
export function kaimingUniform(options?: KaimingOptions): Initialiser {
  const { mode, nonlinearity, negativeSlope } = parseOptions("core-gpu.layers.kaimingUniform", kaimingOptions, options);
  return (generator, shape) =>
    within(gain(nonlinearity, negativeSlope) * Math.sqrt(3 / fans(shape)[mode]), generator, shape);
}

/** Normal, standard deviation gain ÷ √fan. Source: He et al. 2015; PyTorch's `kaiming_normal_`. */
export function kaimingNormal(options?: KaimingOptions): Initialiser {
  const { mode, nonlinearity, negativeSlope } = parseOptions("core-gpu.layers.kaimingNormal", kaimingOptions, options);
  return (generator, shape) =>
    normal(0, gain(nonlinearity, negativeSlope) / Math.sqrt(fans(shape)[mode]))(generator, shape);
}

/** What PyTorch's `Linear` and `Conv` start their weights with: uniform in ±1 ÷ √fanIn (`kaiming_uniform_(a=√5)`). */
export const pytorchWeight: Initialiser = (generator, shape) =>
  within(1 / Math.sqrt(fans(shape).fanIn), generator, shape);

/** What PyTorch's `Linear` and `Conv` start their biases with: uniform in ±1 ÷ √fanIn, the weight's fan in. */
export function pytorchBias(weightShape: readonly number[]): Initialiser {
  checkArguments("core-gpu.layers.pytorchBias", { weightShape: [weightShape, "a shape"] });
  const bound = 1 / Math.sqrt(fans(weightShape).fanIn);
  return (generator, shape) => within(bound, generator, shape);
}

/**
 * The factor that keeps the spread of activations through a nonlinearity: linear and sigmoid 1, tanh 5/3, relu √2,
 * leakyRelu √(2 ÷ (1 + slope²)), selu 3/4; PyTorch's `calculate_gain`.
 *
 * @param negativeSlope Of leakyRelu. Default 0.01.
 */
export function gain(nonlinearity: Nonlinearity, negativeSlope = 0.01): number {
  parseOptions("core-gpu.layers.gain", gainArguments, { nonlinearity, negativeSlope });
  const gains = { linear: 1, sigmoid: 1, tanh: 5 / 3, relu: Math.SQRT2, selu: 3 / 4 };
  return nonlinearity === "leakyRelu" ? Math.sqrt(2 / (1 + negativeSlope ** 2)) : gains[nonlinearity];
}

/**
 * Inputs and outputs of one unit of a weight [out, in, …kernel]: fanIn = in × kernel size, fanOut = out × kernel size.
 *
 * @throws InputError on a shape of fewer than two dimensions, or of no elements.
 */
export function fans(shape: readonly number[]): { readonly fanIn: number; readonly fanOut: number } {
  checkArguments("core-gpu.layers.fans", { shape: [shape, "a shape"] });
  const [out, input, ...kernel] = shape;
  if (out === undefined || input === undefined || shape.some((size) => size < 1)) {
    const fix = "For biases and scales use zeros, ones or pytorchBias.";
    throw new InputError("core-gpu.layers.fans", "shape must be [out, in, …]", `[${shape.join(", ")}]`, fix);
  }
  const field = kernel.reduce((product, size) => product * size, 1);
  return { fanIn: input * field, fanOut: out * field };
}

function within(bound: number, generator: Generator, shape: readonly number[]): Tensor<"float32"> {
  return drawn(generator, shape, () => bound * (2 * generator.uniform() - 1));
}

function drawn(generator: Generator, shape: readonly number[], draw: () => number): Tensor<"float32"> {
  checkArguments("core-gpu.layers.Initialiser", { generator: [generator, "a generator"], shape: [shape, "a shape"] });
  const made = tensor("float32", shape);
  for (let index = 0; index < made.data.length; index++) made.data[index] = draw();
  return made;
}
