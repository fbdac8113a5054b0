import {
  layers,
  ops,
  type optimisers,
  type Program,
  type Spec,
  spec,
  type TreeRecord,
  trace,
  type Value,
  type ValuesOf,
} from "@exitkit/core-gpu";
import { stepOf } from "../../training/programs.ts";
import { type AutoencoderParameters, decode, encode } from "../../zoo/autoencoder.ts";
import { assignmentScores, type IdecParameters, idecLoss } from "../../zoo/idec.ts";

/**
 * A step of the autoencoder's own training: inputs `params`, `optimiser` (state), `x` [batch, pixels] and `learningRate` [];
 * outputs the next state and `loss` [], the mean squared error of the reconstruction before the update.
 */
export function pretrainingProgram(params: AutoencoderParameters, optimiser: optimisers.Optimiser, batch: number) {
  const x = spec("float32", [batch, pixelsOf(params)]);
  return step(params, optimiser, { x }, ({ params: { encoder, decoder }, x }) => {
    return { loss: ops.mse(decode(decoder, encode(encoder, x).code), x) };
  });
}

/**
 * A step of IDEC: inputs as in {@link pretrainingProgram} and `target` [batch, k]; outputs the next state, `loss`,
 * `reconstruction` and `clustering`, all [].
 *
 * @param gamma γ of `idecLoss`.
 */
export function clusteringProgram(
  params: IdecParameters,
  optimiser: optimisers.Optimiser,
  batch: number,
  gamma: number,
) {
  const target = spec("float32", [batch, params.centres.shape[0]!]);
  const inputs = { x: spec("float32", [batch, pixelsOf(params)]), target };
  return step(params, optimiser, inputs, ({ params, x, target }) => idecLoss(params, x, target, gamma));
}

/** The losses of a step, and the optimiser's update by their gradients. */
function step<P extends AutoencoderParameters, I extends Readonly<Record<string, Spec>>>(
  params: P,
  optimiser: optimisers.Optimiser,
  inputs: I,
  lossesOf: (given: ValuesOf<{ readonly params: P } & I>) => { readonly loss: Value },
): Program<unknown, unknown> {
  const state = layers.specsOf({ params, optimiser: optimiser.init(params) }) as TreeRecord<Spec>;
  const specs: TreeRecord<Spec> = { ...state, learningRate: spec("float32", []), ...inputs };
  return trace((given) => {
    const losses = lossesOf(given as never);
    return { ...losses, ...stepOf(losses.loss, given as never, optimiser) };
  }, specs);
}

/** Pictures to codes: inputs `encoder` (state) and `x` [n, pixels]; output `code` [n, d]. */
export function codeProgram(params: AutoencoderParameters): Program<unknown, unknown> {
  return trace(({ encoder, x }) => ({ code: encode(encoder, x).code }), {
    encoder: layers.specsOf(params.encoder),
    x: spec("float32", ["n", pixelsOf(params)]),
  });
}

/**
 * The clustering network: inputs `encoder`, `centres` (state, or constants of an ONNX model) and `x` [n, pixels]; outputs
 * the encoder's hidden layers `layer1`, `layer2`, … and `scores` [n, k], whose softmax is the soft assignment.
 */
export function clusterProgram(params: ClusterNetwork): Program<unknown, unknown> {
  return trace(
    ({ encoder, centres, x }) => {
      const { hidden, code } = encode(encoder, x);
      const named = Object.fromEntries(hidden.map((value, index) => [layerName(index), value]));
      return { ...named, scores: assignmentScores(code, centres) };
    },
    {
      ...layers.specsOf({ encoder: params.encoder, centres: params.centres }),
      x: spec("float32", ["n", pixelsOf(params)]),
    },
  );
}

/** The part of IDEC's parameters that clusters pictures: the decoder has done its work. */
export type ClusterNetwork = Pick<IdecParameters, "encoder" | "centres">;

/** Name of an encoder's hidden layer, `layer1` the first. */
export function layerName(index: number): string {
  return `layer${index + 1}`;
}

function pixelsOf(params: Pick<AutoencoderParameters, "encoder">): number {
  return params.encoder[0]!.weight.shape[1]!;
}
