import { checkArguments, InputError, layers, ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";
import { type ExitNetwork, type ExitParameters, type heads as earlyExitHeads, exitNetwork } from "@exitkit/early-exit";
import type { Decoder } from "../decoders/decoder.ts";
import { checkHead, type TokenHead } from "../heads/token-head.ts";
import { type HiddenUnits, withHidden } from "../hidden-units.ts";
import type { FinalNorm } from "../norms.ts";
import { checkTaps } from "./read-states.ts";

/** An early exit of a decoder: where it reads, and the head it begins with. */
export interface TokenExit {
  /** Name for people, unique. Default: the tap's. */
  readonly name?: string;
  /** One of the decoder's taps: `block3` is the state after the third block. */
  readonly tap: string;
  readonly head: TokenHead;
}

/** A decoder with exits, ready to be trained by early-exit's `trainExits`. */
export interface AttachedHeads {
  readonly network: ExitNetwork;
  /** The decoder's own parameters, and the heads'. */
  readonly params: ExitParameters;
}

/**
 * Puts heads on a decoder as early exits of every token: a network that early-exit's `trainExits` trains, the heads alone
 * (`trains: "exits"`, the decoder stays as it is bit for bit) or everything (`"all"`: Σ_j w_j·CE_j, the last exit's included). A head's matrix is
 * its own, also where it was copied from the model's; a head that reads normed states has its own copy of the final norm.
 *
 * Source: freezing and no freezing, and untying the copied matrix [S]; the loss CE_early + CE_final [D].
 * @param exits In the order of the blocks.
 * @param length Tokens of the sequences that are trained on, t.
 * @throws InputError on no exits, a tap that the decoder does not have, taps out of order, a head of another width or vocabulary, or a length
 * beyond the context.
 */
export function attachHeads(decoder: Decoder, exits: readonly TokenExit[], length: number): AttachedHeads {
  const caller = "llm-exit-init.attachHeads";
  checkArguments(caller, { decoder: [decoder, { config: "an object", taps: "a list" }] });
  if (!Array.isArray(exits) || exits.length === 0) throw new InputError(caller, "at least one exit is needed", "none");
  const { vocabulary, width } = decoder.config;
  checkTaps(
    caller,
    decoder,
    exits.map(({ tap }) => tap),
  );
  for (const { tap, head } of exits) {
    const { v, d } = checkHead(caller, head);
    if (v === vocabulary && d === width) continue;
    throw new InputError(caller, `the head at ${tap} must be [${vocabulary}, ${width}], as the model`, `[${v}, ${d}]`);
  }
  const { norm } = decoder.output;
  const network = exitNetwork(
    decoder.backbone(length),
    exits.map(({ tap, head, name = tap }) => ({ name, tap, head: tokenExitHead(head, norm) })),
  );
  return {
    network,
    params: { backbone: network.backbone.params, exits: exits.map(({ head }) => parametersOf(head, norm)) },
  };
}

/** Parameters of a head as they are trained. */
type HeadParameters<Leaf = Tensor> = {
  readonly linear: Required<layers.LinearParameters<Leaf>>;
  readonly hidden?: HiddenUnits<Leaf>;
  readonly norm?: { readonly weight: Leaf; readonly bias?: Leaf };
};

function parametersOf({ weight, bias, norm, hidden }: TokenHead, finalNorm: FinalNorm): HeadParameters {
  const linear = { weight, bias };
  const layer = hidden === null || hidden === undefined ? { linear } : { linear, hidden };
  if (norm === "none") return layer;
  const own = finalNorm.bias === undefined ? {} : { bias: finalNorm.bias };
  return { ...layer, norm: { weight: finalNorm.weight, ...own } };
}

/** A head over every token: [n, t, d] → [n · t, v]. */
function tokenExitHead(initial: TokenHead, norm: FinalNorm): earlyExitHeads.Head {
  return {
    name: initial.name,
    init: () => parametersOf(initial, norm),
    apply(given, states) {
      const params = given as HeadParameters<Value>;
      const rows = ops.reshape(states, [-1, states.shape.at(-1)!]);
      const features = withHidden(normed(params, rows, norm), params.hidden ?? null);
      return { logits: layers.linear(params.linear, features), updated: {} };
    },
  };
}

function normed({ norm: own }: HeadParameters<Value>, rows: Value, { kind, epsilon }: FinalNorm): Value {
  if (own === undefined) return rows;
  if (kind === "rms") return ops.rmsNorm(rows, own.weight, { epsilon });
  return ops.layerNorm(rows, own.weight, own.bias ?? tensor("float32", own.weight.shape as number[]), { epsilon });
}
