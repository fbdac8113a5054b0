import {
  InputError,
  layers,
  ops,
  type Shape,
  spec,
  type Tensor,
  type TreeRecord,
  type Value,
  type ValuesOf,
} from "@exitkit/core-gpu";
import { type Backbone, programBackbone } from "@exitkit/early-exit";
import type { OutputLayer } from "../output-layer.ts";
import type { TextTokenizer } from "../tokenizers/tokenizer.ts";
import { applyBlock, type BlockParameters, type NormParameters, normalised } from "./block.ts";
import type { DecoderConfig } from "./config.ts";
import type { ApplyOptions, Decoder, DecoderResult, GivenParameters } from "./decoder.ts";
import { anglesOf, learnedPositions, seenOf } from "./positions.ts";

/** Parameters of a decoder; see {@link Decoder.params}. */
export type DecoderParameters<Leaf = Tensor> = {
  readonly embedding: layers.EmbeddingParameters<Leaf>;
  readonly positions?: layers.EmbeddingParameters<Leaf>;
  readonly blocks: readonly BlockParameters<Leaf>[];
  readonly norm: NormParameters<Leaf>;
  readonly head?: layers.LinearParameters<Leaf>;
};

/** A decoder as a function of its parameters: the same program for every family, as its configuration says. */
export function decoderOf(config: DecoderConfig, params: DecoderParameters, tokenizer: TextTokenizer | null): Decoder {
  const taps = Array.from({ length: config.layers }, (_, block) => `block${block + 1}`);
  const normalise = (given: GivenParameters, states: Value): Value =>
    normalised(config.norm, (given as DecoderParameters<Value>).norm, states);
  const head = (given: GivenParameters, states: Value): Value => {
    const { embedding, head: own } = given as DecoderParameters<Value>;
    return layers.linear(own ?? embedding, states);
  };
  const apply = (given: GivenParameters, tokens: Value, options: ApplyOptions = {}): DecoderResult => {
    checkTokens(config, tokens, options.mask);
    const states = statesOf(config, given as DecoderParameters<Value>, tokens, options.mask);
    const last = normalise(given, states.at(-1)!);
    return { taps: Object.fromEntries(taps.map((tap, at) => [tap, states[at]!])), last, logits: head(given, last) };
  };
  return {
    config,
    params: params as TreeRecord<Tensor>,
    output: outputOf(config, params),
    tokenizer,
    taps,
    apply,
    normalise,
    head,
    backbone(t): Backbone {
      checkLength("llm-exit-init.Decoder.backbone", config, t);
      return programBackbone({
        params: params as TreeRecord<Tensor>,
        input: spec("int64", ["n", t]),
        units: t,
        apply(given, x) {
          const result = apply(given as ValuesOf<TreeRecord<Tensor>> as TreeRecord<Value>, x);
          return { taps: result.taps, logits: ops.reshape(result.logits, [-1, config.vocabulary]) };
        },
      });
    },
  };
}

function outputOf(
  { norm }: DecoderConfig,
  { embedding, norm: final, head = embedding }: DecoderParameters,
): OutputLayer {
  // Every family reads its weights as float32.
  const { weight, bias } = head as layers.LinearParameters<Tensor<"float32">>;
  const own = bias === undefined ? {} : { bias };
  return { norm: { ...norm, ...(final as NormParameters<Tensor<"float32">>) }, weight, ...own };
}

/** The states after each block. */
function statesOf(
  config: DecoderConfig,
  params: DecoderParameters<Value>,
  tokens: Value,
  mask: Value | undefined,
): readonly Value[] {
  const { positions, context } = config;
  const embedded = layers.embedding(params.embedding, tokens);
  const first =
    positions.kind === "learned"
      ? ops.add(embedded, learnedPositions(params.positions!.weight, tokens, mask, positions.offset))
      : embedded;
  const around = {
    angles: positions.kind === "rotary" ? anglesOf(positions.frequencies, tokens, context) : null,
    seen: mask === undefined ? undefined : seenOf(mask),
  };
  const states: Value[] = [];
  for (const block of params.blocks) states.push(applyBlock(config, block, states.at(-1) ?? first, around));
  return states;
}

function checkTokens(config: DecoderConfig, tokens: Value, mask: Value | undefined): void {
  const caller = "llm-exit-init.Decoder.apply";
  const print = ({ dtype, shape }: { readonly dtype: string; readonly shape: Shape }) =>
    `${dtype} [${shape.join(", ")}]`;
  const whole = (value: Value) => value.dtype === "int32" || value.dtype === "int64";
  if (!whole(tokens) || tokens.shape.length !== 2) {
    throw new InputError(caller, "tokens must be int32 or int64 [n, t]", print(tokens));
  }
  const t = tokens.shape[1]!;
  if (typeof t === "number") checkLength(caller, config, t);
  if (mask === undefined || (whole(mask) && mask.shape.join() === tokens.shape.join())) return;
  throw new InputError(
    caller,
    `the mask must be int32 or int64 [${tokens.shape.join(", ")}], as the tokens`,
    print(mask),
  );
}

function checkLength(caller: string, { context }: DecoderConfig, t: number): void {
  if (Number.isInteger(t) && t >= 1 && t <= context) return;
  const fix = "Cut the text into windows.";
  throw new InputError(caller, `sequences must have 1 to ${context} tokens, the model's context`, String(t), fix);
}
