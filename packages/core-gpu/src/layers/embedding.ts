import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import type { Value } from "../program/value.ts";
import type { Generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { type Initialiser, normal } from "./initialisers.ts";
import { initialiser } from "./linear.ts";

/** Parameters of {@link embedding}: weight [v, d]. */
export type EmbeddingParameters<Leaf = Tensor> = {
  readonly weight: Leaf;
};

/** Options of {@link initEmbedding}. */
export interface EmbeddingOptions {
  /** Size of the vocabulary, v. */
  readonly entries: number;
  /** Features of an entry, d. */
  readonly features: number;
  /** How the weight starts. Default `normal()`, as in PyTorch. */
  readonly initialWeight?: Initialiser;
}

const options = z.strictObject({
  entries: z.int().min(1),
  features: z.int().min(1),
  initialWeight: initialiser.default(() => normal()),
});

/** First parameters of an embedding: weight [v, d]. @throws InputError on an option unknown, missing or out of range. */
export function initEmbedding(generator: Generator, given: EmbeddingOptions): EmbeddingParameters {
  const checked = parseOptions("core-gpu.layers.initEmbedding", options, given);
  return { weight: checked.initialWeight(generator, [checked.entries, checked.features]) };
}

/** The weight's rows for tokens (int32 or int64, any shape [...], 0 … v − 1): [..., d]. */
export function embedding(params: EmbeddingParameters<Value>, tokens: Value): Value {
  checkArguments("core-gpu.layers.embedding", { params: [params, { weight: "a traced value or a tensor" }] });
  return ops.embedding(params.weight, tokens);
}
