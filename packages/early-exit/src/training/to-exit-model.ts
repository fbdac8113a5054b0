import {
  attachModel,
  InputError,
  layers,
  type Model,
  ops,
  parseOptions,
  programToModel,
  type Spec,
  spec,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { type Confidence, confidenceOf, predictionOf } from "../exits/confidence.ts";
import { defineExits } from "../exits/define-exits.ts";
import type { Exit, ExitModel } from "../exits/exits.ts";
import { checkParameters } from "./check-parameters.ts";
import { type ExitNetwork, type ExitParameters, FULL } from "./exit-network.ts";

/** Options of {@link toExitModel}. */
export interface ToExitModelOptions {
  /** How sure an exit is, from its logits. Default `maxProbability`. */
  readonly confidence?: Confidence;
  /**
   * Who answers for a sample that no early exit is sure of: the `last` exit (default), or the `mostConfident` of all, the
   * earliest of equals.
   */
  readonly whenNoneIsSure?: "last" | "mostConfident";
}

const optionsSchema = z.strictObject({
  confidence: z.enum(["maxProbability", "margin", "normalisedEntropy"]).default("maxProbability"),
  whenNoneIsSure: z.enum(["last", "mostConfident"]).default("last"),
});

/**
 * A trained exit network as a graph that `openStaged` runs and `recordExits` records. `scores` of every exit are its
 * logits; the backbone's part is what {@link Backbone.toModel} gives.
 *
 * With `mostConfident` the last exit's confidence and prediction are those of the most confident of all exits, the last
 * included, chosen in the graph: what the earlier exits said is carried along. Its `scores` stay its own logits. So the last exit
 * is not the plain network then: with `NEVER` at every exit, and in the last row of a record, the most confident exit answers. To
 * calibrate against the network itself, pass its answers (the last row of a record made with `last`) to `calibrate` as `reference`.
 *
 * @throws InputError on an unknown option, parameters that are not the network's, samples of several decisions, or as `defineExits`.
 * Source: the fallback to the most confident exit is Shallow-Deep Networks' [S: the authors' code].
 */
export function toExitModel(network: ExitNetwork, params: ExitParameters, options: ToExitModelOptions = {}): ExitModel {
  const caller = "early-exit.toExitModel";
  const { confidence, whenNoneIsSure } = parseOptions(caller, optionsSchema, options);
  checkParameters(caller, network, params);
  const { backbone } = network;
  const { opset, output, classes, units = 1 } = backbone;
  if (units > 1) {
    throw new InputError(caller, "each sample must take one decision", `${units}, as tokens of a sequence do`);
  }
  let model = backbone.toModel(params.backbone);
  const attach = (prefix: string, part: Model, inputs: Readonly<Record<string, string>>) => {
    const attached = attachModel(model, part, { prefix, inputs });
    model = attached.model;
    return attached.outputs;
  };
  const early = network.exits.map(({ name, tap, head }, j): Required<Exit> => {
    const own = params.exits[j]!;
    const program = trace(
      (given) => {
        const { logits } = head.apply(given.params as TreeRecord<Value>, given.x, false);
        return { logits, ...answerOf(logits, confidence) };
      },
      { x: spec("float32", ["n", ...backbone.taps[tap]!]), params: layers.specsOf<TreeRecord<Spec>>(own) },
    );
    const made = attach(name, programToModel(program, { opset, constants: { params: own } }), { x: tap });
    return { name, tap, confidence: made.confidence!, prediction: made.prediction!, scores: made.logits! };
  });
  const last = trace(({ x }) => answerOf(x, confidence), { x: spec("float32", ["n", classes]) });
  const made = attach(FULL, programToModel(last, { opset }), { x: output });
  const full = { name: FULL, tap: output, confidence: made.confidence!, prediction: made.prediction!, scores: output };
  if (whenNoneIsSure === "last") return defineExits(model, [...early, full]);
  const all = [...early, full];
  const wiring = Object.fromEntries(
    all.flatMap(({ confidence, prediction }, j) => [
      [`confidences.${j}`, confidence],
      [`predictions.${j}`, prediction],
    ]),
  );
  const chosen = attach("mostConfident", programToModel(mostConfident(all.length), { opset }), wiring);
  const answers = { confidence: chosen.confidence!, prediction: chosen.prediction! };
  return defineExits(model, [...early, { ...full, ...answers }]);
}

function answerOf(logits: Value, confidence: Confidence) {
  return { confidence: confidenceOf(logits, confidence), prediction: predictionOf(logits) };
}

/** The greatest of e confidences [n], and the prediction [n] beside it; the first of equals. */
function mostConfident(e: number) {
  return trace(
    ({ confidences, predictions }) => {
      const columns = (values: readonly Value[]): Value =>
        ops.concat(
          values.map((value) => ops.unsqueeze(value, 1)),
          1,
        );
      const table = columns(confidences);
      const which = ops.unsqueeze(ops.argMax(table, { axis: 1 }), 1);
      return {
        confidence: ops.max(table, { axes: 1 }),
        prediction: ops.squeeze(ops.takeAlongAxis(columns(predictions), which, { axis: 1 }), 1),
      };
    },
    {
      confidences: Array.from({ length: e }, () => spec("float32", ["n"])),
      predictions: Array.from({ length: e }, () => spec("int64", ["n"])),
    },
  );
}
