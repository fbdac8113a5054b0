import { readFileSync } from "node:fs";
import { type Dimension, type DType, ops, spec, type Tensor, tensor, trace, type Value } from "../src/index.ts";

export interface Packed {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

/** A call of one function of `ops` with PyTorch's answer. */
export interface Case {
  readonly op: string;
  readonly tensors: readonly Packed[];
  readonly args: readonly unknown[];
  readonly outputs: readonly Packed[];
  readonly symbols?: readonly (readonly (string | null)[])[];
}

interface Hashed {
  readonly shape: readonly number[];
  readonly start: number;
  readonly low: number;
  readonly high: number;
}

export const fixture = JSON.parse(readFileSync(new URL("../fixtures/program.json", import.meta.url), "utf8")) as {
  readonly cases: readonly Case[];
  readonly resnet20: {
    readonly weights: readonly (Hashed & { readonly name: string })[];
    readonly images: Hashed;
    readonly logits: Packed;
    readonly features: Packed;
  };
};

/** Numbers from a fixture; NaN and infinities are written as strings there. */
export function numbersOf(packed: Packed): readonly number[] {
  return packed.data.map(Number);
}

export function unpack(packed: Packed, dtype: DType = packed.dtype): Tensor {
  return tensor(dtype, packed.shape, numbersOf(packed)) as Tensor;
}

export interface CaseOptions {
  /** Give dimensions the fixture's names, followed by the number of the case. */
  readonly symbolic?: boolean;
  /** What float32 tensors are instead. */
  readonly dtype?: DType;
}

/** All cases in one program: tensor j of case i is input `i.j`, result j output `outputs.i.j`. */
export function programOf(cases: readonly Case[], { symbolic = false, dtype = "float32" }: CaseOptions = {}) {
  const specs = cases.map(({ tensors, symbols }, number) =>
    tensors.map((packed, index) => {
      const shape = packed.shape.map((size, axis): Dimension => {
        const symbol = symbolic ? symbols?.[index]?.[axis] : undefined;
        return symbol == null ? size : `${symbol}_${number}`;
      });
      return spec(packed.dtype === "float32" ? dtype : packed.dtype, shape);
    }),
  );
  return trace(({ inputs }) => ({ outputs: cases.map((test, number) => call(test, number, inputs[number]!)) }), {
    inputs: specs,
  });
}

export function call({ op, args }: Case, number: number, inputs: readonly Value[]): readonly Value[] {
  const fill = (argument: unknown): unknown => {
    if (argument === "kept") return `kept_${number}`;
    if (Array.isArray(argument)) return argument.map(fill);
    if (typeof argument !== "object" || argument === null) return argument;
    if ("$" in argument) return inputs[argument.$ as number];
    return Object.fromEntries(Object.entries(argument).map(([key, child]) => [key, fill(child)]));
  };
  const operator = ops[op as keyof typeof ops] as (...args: unknown[]) => Value | Record<string, Value>;
  const result = operator(...args.map(fill));
  return "dtype" in result ? [result as Value] : Object.values(result);
}

export function feedsOf(cases: readonly Case[], { dtype = "float32" }: CaseOptions = {}): Record<string, Tensor> {
  const feeds = cases.flatMap(({ tensors }, number) =>
    tensors.map((packed, index): [string, Tensor] => [
      `inputs.${number}.${index}`,
      unpack(packed, packed.dtype === "float32" ? dtype : packed.dtype),
    ]),
  );
  return Object.fromEntries(feeds);
}

/** The size of every symbol of {@link programOf}. */
export function sizesOf(cases: readonly Case[]): Record<string, number> {
  const sizes: Record<string, number> = {};
  cases.forEach(({ op, symbols, tensors, args, outputs }, number) => {
    symbols?.forEach((names, index) => {
      names.forEach((symbol, axis) => {
        if (symbol !== null) sizes[`${symbol}_${number}`] = tensors[index]!.shape[axis]!;
      });
    });
    if (op === "compress") sizes[`kept_${number}`] = outputs[0]!.shape[(args[2] as { axis?: number }).axis ?? 0]!;
  });
  return sizes;
}

/** What a symbolic dimension comes to when its symbols have sizes. */
export function evaluate(dimension: Dimension, sizes: Readonly<Record<string, number>>): number {
  const { floor, ceil } = Math;
  const scope = { floor, ceil, ...sizes };
  return new Function(...Object.keys(scope), `return ${dimension};`)(...Object.values(scope)) as number;
}

/** Uniform numbers in [low, high) from the hash lowbias32 of each element's running number, as the generator makes them. */
export function hashed({ shape, start, low, high }: Hashed): Tensor<"float32"> {
  const result = tensor("float32", shape);
  for (let at = 0; at < result.data.length; at++) {
    let x = start + at;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    x = (x ^ (x >>> 16)) >>> 0;
    result.data[at] = low + (high - low) * (x / 2 ** 32);
  }
  return result;
}
