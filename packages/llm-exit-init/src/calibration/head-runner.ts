import {
  type Device,
  InputError,
  ops,
  programToModel,
  type Spec,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { checkHead, type TokenHead } from "../heads/token-head.ts";
import { withHidden } from "../hidden-units.ts";
import { applyNorm, checkNorm, type FinalNorm } from "../norms.ts";
import { chunks, type TokenRows } from "./rows.ts";

/** Logits that are in memory at once, as numbers. */
const LOGITS = 2 ** 22;

/** Logits of some heads for a piece of the rows, and the labels. */
export interface HeadValues {
  /** `[r]` of [m, v]. */
  readonly logits: readonly Value[];
  /** int64 `[m]` */
  readonly next: Value;
  /** What else the run is fed. */
  readonly more: Readonly<Record<string, Value>>;
}

/** A program over the logits of some heads, run over rows piece by piece. */
export interface HeadRunner {
  /** Runs all pieces; `each` gets the outputs of one, and how many rows it had. */
  run(
    rows: TokenRows,
    feeds: Readonly<Record<string, Tensor>>,
    each: (outputs: Readonly<Record<string, Tensor>>, m: number, from: number) => void,
    perRow?: Readonly<Record<string, Int32Array>>,
  ): Promise<void>;
  release(): Promise<void>;
}

/**
 * Compiles what is to be computed of the heads' logits. Weights are fed by reference, so that nothing is copied.
 *
 * @param more Further inputs. Those of shape ["m"] are int64 and come row by row.
 * @throws InputError on heads of different vocabularies or widths, or one that reads normed states where there is no norm.
 */
export async function openHeads(
  caller: string,
  device: Device,
  heads: readonly TokenHead[],
  finalNorm: FinalNorm | undefined,
  more: Readonly<Record<string, Spec>>,
  compute: (values: HeadValues) => Readonly<Record<string, Value>>,
): Promise<HeadRunner> {
  const sizes = heads.map((head) => checkHead(caller, head));
  const { v, d } = sizes[0]!;
  const odd = sizes.find((size) => size.v !== v || size.d !== d);
  if (odd !== undefined) throw new InputError(caller, `all heads must be [${v}, ${d}]`, `[${odd.v}, ${odd.d}]`);
  if (heads.some(({ norm }) => norm === "final")) checkNorm(caller, finalNorm!, d);
  const specs: Record<string, Spec> = { next: spec("int64", ["m"]), ...more };
  const norms = [...new Set(heads.map(({ norm }) => norm))];
  for (const norm of norms) specs[`x_${norm}`] = spec("float32", ["m", d]);
  heads.forEach((head, r) => {
    specs[`weight${r}`] = spec("float32", head.weight.shape);
    specs[`bias${r}`] = spec("float32", [v]);
    if (head.hidden === null || head.hidden === undefined) return;
    specs[`hidden${r}`] = spec("float32", head.hidden.weight.shape);
    specs[`threshold${r}`] = spec("float32", head.hidden.bias.shape);
  });
  const program = trace((given: Record<string, Value>) => {
    const logits = heads.map(({ norm }, r) => {
      const own = given[`hidden${r}`];
      const hidden = own === undefined ? null : { weight: own, bias: given[`threshold${r}`]! };
      return ops.linear(withHidden(given[`x_${norm}`]!, hidden), given[`weight${r}`]!, given[`bias${r}`]!);
    });
    return compute({ logits, next: given.next!, more: given });
  }, specs);
  const session = await device.load(programToModel(program));
  const weights: Record<string, Tensor> = {};
  heads.forEach(({ weight, bias, hidden }, r) => {
    weights[`weight${r}`] = weight;
    weights[`bias${r}`] = bias;
    if (hidden === null || hidden === undefined) return;
    weights[`hidden${r}`] = hidden.weight;
    weights[`threshold${r}`] = hidden.bias;
  });
  return {
    async run(rows, feeds, each, perRow = {}) {
      const width = rows.states.shape[1];
      if (width !== d) throw new InputError(caller, `states must be [m, ${d}], as the heads`, `[m, ${width}]`);
      const wrong = rows.next.find((token) => !(token >= 0 && token < v));
      if (wrong !== undefined) throw new InputError(caller, `tokens must be 0 … ${v - 1}`, `${wrong}`);
      const size = Math.max(1, Math.floor(LOGITS / v));
      let from = 0;
      for (const piece of chunks(rows, size)) {
        const m = piece.next.length;
        const own: Record<string, Tensor> = { next: int64(piece.next) };
        for (const [name, values] of Object.entries(perRow)) own[name] = int64(values.subarray(from, from + m));
        for (const norm of norms) own[`x_${norm}`] = norm === "none" ? piece.states : normed(finalNorm!, piece.states);
        each(await session.run({ ...weights, ...feeds, ...own }), m, from);
        from += m;
      }
    },
    release: () => session.release(),
  };
}

function int64(values: Int32Array): Tensor<"int64"> {
  return tensor("int64", [values.length], BigInt64Array.from(values, BigInt));
}

function normed(norm: FinalNorm, states: Tensor<"float32">): Tensor<"float32"> {
  const [m, d] = states.shape as [number, number];
  const result = tensor("float32", [m, d]);
  for (let row = 0; row < m; row++) {
    const at = row * d;
    applyNorm(norm, states.data.subarray(at, at + d), result.data.subarray(at, at + d));
  }
  return result;
}
