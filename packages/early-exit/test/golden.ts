// What fixtures/generate-exits.py wrote, as tensors.
import { readFileSync } from "node:fs";
import { type Tensor, type TreeRecord, tensor } from "@exitkit/core-gpu";
import { expect } from "vitest";

export interface Packed {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

type Flat = Readonly<Record<string, Packed>>;

interface Distilled {
  readonly distillation: { readonly weight: number; readonly temperature: number } | null;
  readonly weights: readonly number[];
  readonly y: readonly number[];
}

interface Golden {
  readonly heads: readonly {
    readonly kind: "linear" | "mixedPool" | "conv";
    readonly options: { readonly grid?: number; readonly channels?: number };
    readonly shape: readonly number[];
    readonly params: Flat;
    readonly x: Packed;
    readonly y: readonly number[];
    readonly inference: Packed;
    readonly logits: Packed;
    readonly ofX: Packed;
    readonly gradients: Flat;
    readonly statistics: Flat;
  }[];
  readonly losses: readonly (Distilled & {
    readonly teacher?: Packed;
    readonly logits: readonly Packed[];
    readonly loss: number;
    readonly losses: readonly number[];
    readonly gradients: readonly Packed[];
  })[];
  readonly steps: readonly (Distilled & {
    /** Of the backbone that teaches. */
    readonly teacher?: Flat;
    readonly trains: "exits" | "all";
    readonly x: Packed;
    readonly before: { readonly backbone: Flat; readonly exits: Flat };
    readonly after: { readonly backbone: Flat; readonly exits: Flat };
    readonly seen: readonly { readonly loss: number; readonly losses: readonly number[] }[];
  })[];
}

export const golden = JSON.parse(
  readFileSync(new URL("../fixtures/trained-exits.json", import.meta.url), "utf8"),
) as Golden;

export function unpacked({ shape, data }: Packed): Tensor<"float32"> {
  return tensor("float32", shape, data);
}

export function labels(y: readonly number[]): Tensor<"int64"> {
  return tensor("int64", [y.length], y.map(BigInt));
}

/** `{ "norm.weight": … }` as `{ norm: { weight: … } }`. */
export function nested(flat: Flat): TreeRecord<Tensor> {
  const tree: Record<string, unknown> = {};
  for (const [path, value] of Object.entries(flat)) {
    const keys = path.split(".");
    const last = keys.pop()!;
    const at = keys.reduce<Record<string, unknown>>((node, key) => {
      node[key] ??= {};
      return node[key] as Record<string, unknown>;
    }, tree);
    at[last] = unpacked(value);
  }
  return tree as TreeRecord<Tensor>;
}

/** All elements within an absolute and relative tolerance. */
export function expectClose(actual: Tensor | undefined, wanted: Packed, what: string, tolerance = 2e-5): void {
  expect(actual?.shape, what).toEqual(wanted.shape);
  wanted.data.forEach((value, at) => {
    const difference = Math.abs(Number(actual!.data[at]) - value);
    expect(difference, `${what}, element ${at}`).toBeLessThan(tolerance * (1 + Math.abs(value)));
  });
}

/** Two rows of numbers, alike to so many digits behind the point. */
export function expectNumbers(
  actual: ArrayLike<number | bigint>,
  wanted: ArrayLike<number | bigint>,
  digits: number,
  what = "numbers",
): void {
  expect(actual.length, what).toBe(wanted.length);
  for (let at = 0; at < wanted.length; at++) {
    expect(Number(actual[at]), `${what}, ${at}`).toBeCloseTo(Number(wanted[at]), digits);
  }
}
