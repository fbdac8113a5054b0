import { describeModel, InputError, type Model, onnx } from "@exitkit/core-gpu";
import { z } from "zod";
import type { Exit, ExitModel } from "./exits.ts";
import { cutAtExits } from "./stages.ts";

const exitSchema = z.strictObject({
  name: z.string().min(1),
  tap: z.string().min(1),
  confidence: z.string().min(1),
  prediction: z.string().min(1),
  scores: z.string().min(1).optional(),
});

/**
 * Says where the exits of a network are, and checks that its graph can be run exit by exit.
 *
 * @param model A network with one input whose graph already computes every exit's `confidence` and `prediction`
 * (`attachModel` puts heads there). They need not be outputs of it.
 * @param exits e exits in the order of the backbone; the last is the full network's own head.
 * @throws InputError on no exits, a repeated name, a tensor the graph does not have, exits out of order, an exit whose
 * confidence or prediction is made before the tap of the exit in front of it, a model with several inputs, or an
 * operator set below 11 (which has no `If` to build on).
 * @example
 * ```ts
 * import { attachModel, programToModel, readModelFile, spec, trace } from "@exitkit/core-gpu";
 * import { confidenceOf, defineExits, predictionOf } from "@exitkit/early-exit";
 * // The network's own head as its only exit: confidence and prediction from its logits, inside the graph.
 * const answer = trace(
 *   ({ x }) => ({ confidence: confidenceOf(x, "maxProbability"), prediction: predictionOf(x) }),
 *   { x: spec("float32", ["n", 4]) },
 * );
 * const { model, outputs } = attachModel(
 *   await readModelFile("network.onnx"),
 *   programToModel(answer, { opset: 17 }),
 *   { prefix: "full", inputs: { x: "logits" } },
 * );
 * const { confidence, prediction } = outputs;
 * const network = defineExits(model, [{ name: "full", tap: "logits", confidence: confidence!, prediction: prediction! }]);
 * console.assert(network.input === "x");
 * ```
 */
export function defineExits(model: Model, exits: readonly Exit[]): ExitModel {
  const caller = "early-exit.defineExits";
  if (!Array.isArray(exits) || exits.length === 0) {
    throw new InputError(caller, "a network needs at least one exit, its own head", "none");
  }
  exits.forEach((exit, at) => {
    const parsed = exitSchema.safeParse(exit);
    if (parsed.success) return;
    const issue = parsed.error.issues[0]!;
    throw new InputError(caller, `exit ${at} must be { name, tap, confidence, prediction, scores? }`, issue.message);
  });
  const repeated = exits.find(({ name }, at) => exits.findIndex((exit) => exit.name === name) !== at);
  if (repeated !== undefined) throw new InputError(caller, "exit names must differ", `"${repeated.name}" twice`);
  checkTensors(caller, model, exits);
  const { inputs, opset } = describeModel(model);
  const [input] = inputs;
  if (input === undefined || inputs.length !== 1) {
    const names = inputs.map(({ name }) => `"${name}"`).join(", ") || "none";
    throw new InputError(caller, "the model must have exactly one input", names, "Make the others constants.");
  }
  if (opset < 7) throw new InputError(caller, "the model must use operator set 7 or newer", `${opset}`, "Convert it.");
  const exitModel: ExitModel = { model, input: input.name, exits: exits.map((exit) => ({ ...exit })) };
  cutAtExits(caller, exitModel);
  return exitModel;
}

function checkTensors(caller: string, model: Model, exits: readonly Exit[]): void {
  const graph = model.proto.graph;
  if (graph === undefined) throw new InputError(caller, "the model must have a graph", "none");
  const made = new Set(graph.node.flatMap(({ output }) => output));
  for (const exit of exits) {
    for (const key of ["tap", "confidence", "prediction", "scores"] as const) {
      const name = exit[key];
      if (name === undefined || made.has(name)) continue;
      const expectation = `${key} of exit "${exit.name}" must be a tensor that the graph computes`;
      throw new InputError(caller, expectation, onnx.quoted(name), onnx.suggestion(name, made));
    }
  }
}
