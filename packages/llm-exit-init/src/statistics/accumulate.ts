import { type Device, InputError, parseOptions, until } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkHidden, type HiddenUnits, openHidden, sameHidden } from "../hidden-units.ts";
import { applyNorm, checkNorm, type FinalNorm, type StateNorm } from "../norms.ts";
import { checkStates, plainStates, type StatesBatch, type StatesBatches } from "../states.ts";
import { nextTokenPairs, type PairsOptions, pairsSchema } from "../tokens/pairs.ts";
import { openMultiplier } from "./products.ts";
import { emptyStatistics, statisticsBytes, type TokenStatistics } from "./token-statistics.ts";

/** Options of {@link accumulateTokens}. */
export interface AccumulateTokensOptions extends PairsOptions {
  /** v: tokens are 0 … v − 1. */
  readonly vocabulary: number;
  /** What the states are of; shards of other sources are not merged. Default `""`. */
  readonly source?: string;
  /** The model's final norm, for `norm: "final"`. */
  readonly finalNorm?: FinalNorm;
  /** What is done to a state before it is summed up. Default `none`. */
  readonly norm?: StateNorm;
  /** Features that are added to a state after its norm, see `hiddenUnits`. Sums, memory and heads are of d + h features then. Default: none. */
  readonly hidden?: HiddenUnits;
  /** Whether to keep Σ x xᵀ, d² numbers. Default true. */
  readonly gram?: boolean;
  /** Whether to keep Σ x zᵀ of the last states z; batches must have them then. Default false. */
  readonly cross?: boolean;
  /** Statistics to go on from: an earlier pass that was interrupted. They are not changed. */
  readonly resume?: TokenStatistics;
  /** What the statistics may take, in bytes. Default 4 GiB. */
  readonly maxBytes?: number;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of positions so far. */
  readonly onProgress?: (positions: number) => void;
}

const caller = "llm-exit-init.accumulateTokens";
const record = z.custom<object>((value) => typeof value === "object" && value !== null, "must be an object");

const schema = pairsSchema.extend({
  vocabulary: z.int().min(2),
  source: z.string().default(""),
  finalNorm: record.optional(),
  norm: z.enum(["none", "final"]).default("none"),
  hidden: record.optional(),
  gram: z.boolean().default(true),
  cross: z.boolean().default(false),
  resume: record.optional(),
  maxBytes: z
    .number()
    .positive()
    .default(2 ** 32),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z.custom<(positions: number) => void>((value) => typeof value === "function").optional(),
});

/**
 * Sums up hidden states over token positions, by the token that comes next: counts |S_u|, Σ_{i∈S_u} x_i, Σ ‖x‖², Σ x xᵀ and
 * Σ x zᵀ (z the last state after the final norm), where S_u are the positions i whose token i + 1 is u and x the state at
 * i, normed if asked for. One pass; memory is that of {@link statisticsBytes}, whatever the length of the text.
 *
 * Class sums are float64 on the host. The two matrix products of a batch run on the device in float32, of states less the
 * mean of the batch, which is added back in float64: a feature that hardly varies beside its mean does not drown in rounding.
 *
 * Source: M_v and P(M_v) of the thesis' language-model chapter [S]; alignment with the next token [D].
 * Differs: the Gram matrix and the cross sums are not the paper's; `sharedCovariance` and `linearMap` need them.
 *
 * @param batches States [n, t, d] and their tokens; see {@link StatesBatch}.
 * @throws InputError on an option that is unknown or out of range; `norm: "final"` without `finalNorm`; statistics larger than
 * `maxBytes`, before any is made; a token outside the vocabulary; states that are not finite or of another width than before;
 * no pair at all.
 * @example
 * ```ts
 * import { openDevice, tensor } from "@exitkit/core-gpu";
 * import { accumulateTokens } from "@exitkit/llm-exit-init";
 * const device = await openDevice("cpu");
 * const states = tensor("float32", [1, 3, 2], [9, 9, 1, 2, 3, 4]); // one window of three tokens
 * const statistics = await accumulateTokens(device, [{ states, tokens: [0, 1, 0] }], { vocabulary: 2, skip: 0 });
 * // Three tokens are two pairs: the first state belongs to token 1, the second to token 0.
 * console.assert(statistics.counts.join() === "1,1" && statistics.sums.join() === "1,2,9,9");
 * await device.close();
 * ```
 */
export async function accumulateTokens(
  device: Device,
  batches: StatesBatches,
  options: AccumulateTokensOptions,
): Promise<TokenStatistics> {
  const accumulator = openAccumulator(caller, device, options);
  try {
    for await (const batch of until(options.signal, batches)) {
      const positions = await accumulator.add(plainStates(batch));
      options.onProgress?.(positions);
    }
    return accumulator.result();
  } finally {
    await accumulator.release();
  }
}

/** Statistics that grow batch by batch. */
export interface Accumulator {
  /** Adds a batch; gives the number of positions so far. */
  add(batch: StatesBatch): Promise<number>;
  /** What was summed up so far. @throws InputError where it is nothing. */
  result(): TokenStatistics;
  release(): Promise<void>;
}

/** An accumulator of {@link accumulateTokens}' options. Nothing is allocated before the first batch. */
export function openAccumulator(caller: string, device: Device, options: AccumulateTokensOptions): Accumulator {
  const parsed = parseOptions(caller, schema, options);
  const { vocabulary, source, norm, gram, cross, maxBytes, skip, border } = parsed;
  const { finalNorm, resume, hidden = null } = options;
  const h = checkHidden(caller, hidden, null);
  if (norm === "final" && finalNorm === undefined) {
    throw new InputError(caller, 'norm: "final" needs the model\'s final norm', "none", "Pass finalNorm.");
  }
  let statistics: Growing | null =
    resume === undefined ? null : copied(caller, resume, { vocabulary, source, norm, gram, cross }, hidden);
  let products: Awaited<ReturnType<typeof openMultiplier>> | null = null;
  let expander: Awaited<ReturnType<typeof openHidden>> | null = null;
  let index = 0;
  const begin = (d: number, last: number | null): Growing => {
    const bytes = statisticsBytes(vocabulary, d, last);
    if (bytes > maxBytes) {
      const actual = `${bytes} for a vocabulary of ${vocabulary} and ${d} features`;
      const fix = "Raise maxBytes if the machine has the memory.";
      throw new InputError(caller, `statistics may take ${maxBytes} bytes`, actual, fix);
    }
    return { ...emptyStatistics({ source, norm, hidden, vocabulary, features: d, gram, last }), positions: 0 };
  };
  return {
    async add(batch) {
      const width = cross ? (statistics?.cross?.features ?? 0) : null;
      const { t, d } = checkStates(caller, batch, {
        vocabulary,
        features: statistics === null ? undefined : statistics.features - h,
        last: width,
      });
      checkHidden(caller, hidden, d);
      statistics ??= begin(d + h, cross ? batch.last!.shape[2]! : null);
      if (norm === "final") checkNorm(caller, finalNorm!, d);
      const given = { skip, ...(border === undefined ? {} : { border }), mask: batch.mask };
      const pairs = nextTokenPairs(batch.tokens, t, given);
      const states = rowsOf(batch, pairs.positions, d, norm === "final" ? finalNorm! : null, cross);
      if (pairs.next.length > 0) {
        if (hidden !== null) expander ??= await openHidden(device, hidden);
        const x = expander === null ? states.x : await expander.apply(states.x, pairs.next.length);
        const rows = { x, z: states.z };
        if (gram || cross) products ??= await openMultiplier(device, d + h, statistics.cross?.features ?? null);
        await addRows(statistics, rows, pairs.next, products);
        if (!Number.isFinite(statistics.squares) || !Number.isFinite(statistics.cross?.squares ?? 0)) {
          const fix = "Check the model's weights and the text of that batch.";
          throw new InputError(caller, "states must be finite", `NaN or infinity in batch ${index}`, fix);
        }
      }
      index += 1;
      return statistics.positions;
    },
    result() {
      if (statistics === null || statistics.positions === 0) {
        const fix = "Pass longer windows, or a smaller skip.";
        throw new InputError(caller, "at least one token with a next one is needed", "none", fix);
      }
      const { positions, ...plain } = statistics;
      return plain;
    },
    async release() {
      await products?.release();
      await expander?.release();
    },
  };
}

/** Statistics under way: the same arrays, added to. */
type Growing = { -readonly [Key in keyof TokenStatistics]: TokenStatistics[Key] } & { positions: number };

function copied(
  caller: string,
  resume: TokenStatistics,
  wanted: { vocabulary: number; source: string; norm: StateNorm; gram: boolean; cross: boolean },
  hidden: HiddenUnits | null,
): Growing {
  const kept = { ...wanted, gram: resume.gram !== null, cross: resume.cross !== null };
  const found = { ...kept, vocabulary: resume.vocabulary, source: resume.source, norm: resume.norm };
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    const expectation = `statistics to resume from must be of ${JSON.stringify(wanted)}`;
    throw new InputError(caller, expectation, JSON.stringify(found), "Pass the options of the earlier pass.");
  }
  if (!sameHidden(resume.hidden, hidden)) {
    throw new InputError(caller, "statistics to resume from must be of the same hidden units", "others");
  }
  const { cross } = resume;
  return {
    ...resume,
    counts: resume.counts.slice(),
    sums: resume.sums.slice(),
    gram: resume.gram?.slice() ?? null,
    cross: cross === null ? null : { ...cross, sums: cross.sums.slice(), products: cross.products.slice() },
    positions: resume.counts.reduce((sum, count) => sum + count, 0),
  };
}

/** The states of the given positions, normed; and the last states of the same. */
function rowsOf(
  batch: StatesBatch,
  positions: Int32Array,
  d: number,
  norm: FinalNorm | null,
  cross: boolean,
): { readonly x: Float32Array; readonly z: Float32Array | null } {
  const x = new Float32Array(positions.length * d);
  const width = cross ? batch.last!.shape[2]! : 0;
  const z = cross ? new Float32Array(positions.length * width) : null;
  positions.forEach((position, row) => {
    const state = batch.states.data.subarray(position * d, (position + 1) * d);
    if (norm === null) x.set(state, row * d);
    else applyNorm(norm, state, x.subarray(row * d, (row + 1) * d));
    z?.set(batch.last!.data.subarray(position * width, (position + 1) * width), row * width);
  });
  return { x, z };
}

async function addRows(
  statistics: Growing,
  { x, z }: { readonly x: Float32Array; readonly z: Float32Array | null },
  next: Int32Array,
  products: Awaited<ReturnType<typeof openMultiplier>> | null,
): Promise<void> {
  const m = next.length;
  const { features: d, cross, gram } = statistics;
  const total = columnSums(x, m, d);
  statistics.positions += m;
  statistics.squares += total.squares;
  addClassSums(statistics.sums, statistics.counts, x, next, d);
  if (products === null) return;
  const centre = centred(x, total.sums, m, d);
  const lastTotal = z === null ? null : columnSums(z, m, cross!.features);
  const lastCentre = z === null ? null : centred(z, lastTotal!.sums, m, cross!.features);
  const { gram: own, cross: other } = await products.multiply(x, z, m);
  if (gram !== null) addBack(gram, own, { centre, sums: total.sums }, { centre, sums: total.sums }, m);
  if (cross === null) return;
  addBack(cross.products, other!, { centre, sums: total.sums }, { centre: lastCentre!, sums: lastTotal!.sums }, m);
  lastTotal!.sums.forEach((sum, i) => {
    cross.sums[i]! += sum;
  });
  statistics.cross = { ...cross, squares: cross.squares + lastTotal!.squares };
}

/** Σ x [d] and Σ ‖x‖² of rows [m, d]. */
function columnSums(x: Float32Array, m: number, d: number): { readonly sums: Float64Array; readonly squares: number } {
  const sums = new Float64Array(d);
  let squares = 0;
  for (let row = 0; row < m; row++) {
    for (let i = 0; i < d; i++) {
      const value = x[row * d + i]!;
      sums[i]! += value;
      squares += value * value;
    }
  }
  return { sums, squares };
}

function addClassSums(sums: Float64Array, counts: Float64Array, x: Float32Array, next: Int32Array, d: number): void {
  next.forEach((token, row) => {
    counts[token]! += 1;
    for (let i = 0; i < d; i++) sums[token * d + i]! += x[row * d + i]!;
  });
}

/** Takes the mean, rounded to float32, off the rows in place; gives it. */
function centred(x: Float32Array, sums: Float64Array, m: number, d: number): Float32Array {
  const centre = Float32Array.from(sums, (sum) => sum / m);
  for (let row = 0; row < m; row++) for (let i = 0; i < d; i++) x[row * d + i]! -= centre[i]!;
  return centre;
}

/** Adds Σ x yᵀ = Σ (x − a)(y − b)ᵀ + a tᵀ + s bᵀ − m a bᵀ, given the first product, a and b, and s = Σ x, t = Σ y. */
function addBack(
  into: Float64Array,
  product: Float32Array,
  x: { readonly centre: Float32Array; readonly sums: Float64Array },
  y: { readonly centre: Float32Array; readonly sums: Float64Array },
  m: number,
): void {
  const width = y.centre.length;
  for (let i = 0; i < x.centre.length; i++) {
    const a = x.centre[i]!;
    const s = x.sums[i]! - m * a;
    for (let j = 0; j < width; j++) {
      into[i * width + j]! += product[i * width + j]! + a * y.sums[j]! + s * y.centre[j]!;
    }
  }
}
