import {
  gradients,
  layers,
  ops,
  type optimisers,
  type Program,
  type Spec,
  spec,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { type AutoencoderParameters, decode, encode } from "../../zoo/autoencoder.ts";
import { assignmentScores, type IdecParameters, idecLoss } from "../../zoo/idec.ts";

/** What stays with the device between the steps of both trainings. */
export const STATE = ["params", "optimiser"] as const;

/**
 * A step of the autoencoder's own training: inputs `params`, `optimiser` (state), `x` [batch, pixels] and `learningRate` [];
 * outputs the next state and `loss` [], the mean squared error of the reconstruction before the update.
 */
export function pretrainingProgram(
  params: AutoencoderParameters,
  optimiser: optimisers.Optimiser,
  batch: number,
): Program<unknown, unknown> {
  const inputs = { x: spec("float32", [batch, pixelsOf(params)]) };
  return trace(
    ({ params, optimiser: state, learningRate, x }) => {
      const loss = ops.mse(decode(params.decoder, encode(params.encoder, x).code), x);
      return { loss, ...updated(optimiser, loss, params, state, learningRate) };
    },
    { params: layers.specsOf(params), ...optimiserSpecs(optimiser, params), ...inputs },
  );
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
): Program<unknown, unknown> {
  const k = params.centres.shape[0]!;
  const inputs = { x: spec("float32", [batch, pixelsOf(params)]), target: spec("float32", [batch, k]) };
  return trace(
    ({ params, optimiser: state, learningRate, x, target }) => {
      const losses = idecLoss(params, x, target, gamma);
      return { ...losses, ...updated(optimiser, losses.loss, params, state, learningRate) };
    },
    { params: layers.specsOf(params), ...optimiserSpecs(optimiser, params), ...inputs },
  );
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

function optimiserSpecs(optimiser: optimisers.Optimiser, params: AutoencoderParameters) {
  const state = optimiser.init(params);
  return { optimiser: layers.specsOf(state) as TreeRecord<Spec>, learningRate: spec("float32", []) };
}

function updated(
  optimiser: optimisers.Optimiser,
  loss: Value,
  params: AutoencoderParameters<Value>,
  state: TreeRecord<Value>,
  learningRate: Value,
) {
  const next = optimiser.update(gradients(loss, params), state, params, { learningRate });
  return { params: next.params, optimiser: next.state };
}
