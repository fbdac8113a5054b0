import {
  attachModel,
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
 * A trained exit network as a graph that `openStaged` runs and `recordExits` records. Where each sample takes u decisions its exits
 * answer [n, u], which are recorded (`unit: "token"`), but not run in stages. `scores` of every exit are its
 * logits; the backbone's part is what {@link Backbone.toModel} gives.
 *
 * With `mostConfident` the last exit's confidence and prediction are those of the most confident of all exits, the last
 * included, chosen in the graph: what the earlier exits said is carried along. Its `scores` stay its own logits. So the last exit
 * is not the plain network then: with `NEVER` at every exit, and in the last row of a record, the most confident exit answers. To
 * calibrate against the network itself, pass its answers (the last row of a record made with `last`) to `calibrate` as `reference`.
 *
 * @throws InputError on an unknown option, parameters that are not the network's, or as `defineExits`.
 * Source: the fallback to the most confident exit is Shallow-Deep Networks' [S: the authors' code].
 */
export function toExitModel(network: ExitNetwork, params: ExitParameters, options: ToExitModelOptions = {}): ExitModel {
  const caller = "early-exit.toExitModel";
  const { confidence, whenNoneIsSure } = parseOptions(caller, optionsSchema, options);
  checkParameters(caller, network, params);
  const { backbone } = network;
  const { opset, output, classes, units = 1 } = backbone;
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
        const answered = ofUnits(logits, units);
        return { logits: answered, ...answerOf(answered, confidence) };
      },
      { x: spec("float32", ["n", ...backbone.taps[tap]!]), params: layers.specsOf<TreeRecord<Spec>>(own) },
    );
    const made = attach(name, programToModel(program, { opset, constants: { params: own } }), { x: tap });
    return { name, tap, confidence: made.confidence!, prediction: made.prediction!, scores: made.logits! };
  });
  const last = trace(({ x }) => answerOf(x, confidence), {
    x: spec("float32", units === 1 ? ["n", classes] : ["n", units, classes]),
  });
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
  const chosen = attach("mostConfident", programToModel(mostConfident(all.length, units), { opset }), wiring);
  const answers = { confidence: chosen.confidence!, prediction: chosen.prediction! };
  return defineExits(model, [...early, { ...full, ...answers }]);
}

/** Logits [n · u, k] as [n, u, k]; those of one decision a sample stay [n, k]. */
function ofUnits(logits: Value, units: number): Value {
  return units === 1 || logits.shape.length === 3 ? logits : ops.reshape(logits, [-1, units, logits.shape[1]!]);
}

function answerOf(logits: Value, confidence: Confidence) {
  return { confidence: confidenceOf(logits, confidence), prediction: predictionOf(logits) };
}

/** The greatest of e confidences [n], or [n, u], and the prediction beside it; the first of equals. */
function mostConfident(e: number, units: number) {
  const shape = units === 1 ? ["n"] : ["n", units];
  const axis = shape.length;
  return trace(
    ({ confidences, predictions }) => {
      const columns = (values: readonly Value[]): Value =>
        ops.concat(
          values.map((value) => ops.unsqueeze(value, axis)),
          axis,
        );
      const table = columns(confidences);
      const which = ops.unsqueeze(ops.argMax(table, { axis }), axis);
      return {
        confidence: ops.max(table, { axes: axis }),
        prediction: ops.squeeze(ops.takeAlongAxis(columns(predictions), which, { axis }), axis),
      };
    },
    {
      confidences: Array.from({ length: e }, () => spec("float32", shape)),
      predictions: Array.from({ length: e }, () => spec("int64", shape)),
    },
  );
}
