import { type Generator, layers, ops, type Tensor, type Value } from "@exitkit/core-gpu";

/** Parameters of an autoencoder: the linear layers of its two halves. */
export type AutoencoderParameters<Leaf = Tensor> = {
  readonly encoder: readonly Required<layers.LinearParameters<Leaf>>[];
  readonly decoder: readonly Required<layers.LinearParameters<Leaf>>[];
};

/** What an encoder computes for a batch of n pictures. */
export interface Encoded {
  /** The hidden layers' outputs after their ReLU, [n, d] each. */
  readonly hidden: readonly Value[];
  /** [n, d]: the last layer's output, without ReLU. */
  readonly code: Value;
}

/**
 * First parameters of a fully connected autoencoder: an encoder of the given sizes and its mirror image. Weights and biases
 * start as PyTorch's linear layers do.
 *
 * @param sizes Of the encoder, from the pixels to the code.
 */
export function initAutoencoder(random: Generator, sizes: readonly number[]): AutoencoderParameters {
  return { encoder: layers.initMlp(random, sizes), decoder: layers.initMlp(random, sizes.toReversed()) };
}

/** The encoder, x [n, pixels] → [n, code]: linear layers, ReLU after all but the last. */
export function encode(encoder: AutoencoderParameters<Value>["encoder"], x: Value): Encoded {
  const hidden: Value[] = [];
  for (const layer of encoder.slice(0, -1)) hidden.push(ops.relu(layers.linear(layer, hidden.at(-1) ?? x)));
  return { hidden, code: layers.linear(encoder.at(-1)!, hidden.at(-1) ?? x) };
}

/** The decoder, code [n, d] → [n, pixels]: linear layers, ReLU between them. */
export function decode(decoder: AutoencoderParameters<Value>["decoder"], code: Value): Value {
  return layers.mlp(decoder, code);
}
