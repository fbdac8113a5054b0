import { attachModel, checkArguments, describeModel, InputError, programToModel, spec, trace } from "@exitkit/core-gpu";
import { defineExits } from "../exits/define-exits.ts";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import { checkGates } from "./checks.ts";
import { type Gates, gateConfidence } from "./gate.ts";

/**
 * The network with the gates' values as confidences of its early exits, computed in the graph from the exits' scores: run it
 * with thresholds of 0.5.
 *
 * @throws InputError when an early exit does not name its scores, or on gates of other exits.
 * @example
 * ```ts
 * import { type Device, type Tensor } from "@exitkit/core-gpu";
 * import { attachGates, type ExitModel, type Gates, openStaged } from "@exitkit/early-exit";
 * const classify = async (device: Device, network: ExitModel, gates: Gates, images: Tensor) => {
 *   const staged = await openStaged(device, attachGates(network, gates));
 *   const answers = await staged.classify(images, gates.gates.map(() => 0.5));
 *   await staged.release();
 *   return answers;
 * };
 * ```
 */
export function attachGates(exitModel: ExitModel, gates: Gates): ExitModel {
  const caller = "early-exit.attachGates";
  checkArguments(caller, {
    exitModel: [exitModel, EXIT_MODEL],
    gates: [gates, { gates: "a list", exits: "a list", classes: "a number" }],
  });
  const names = exitModel.exits.map(({ name }) => name);
  checkGates(caller, gates, names, gates.classes);
  let { model } = exitModel;
  const { opset } = describeModel(model);
  const exits = exitModel.exits.map((exit, j) => {
    const gate = gates.gates[j];
    if (gate === undefined) return exit;
    if (exit.scores === undefined) {
      const fix = "Name the tensor of its logits in defineExits.";
      throw new InputError(caller, `exit "${exit.name}" must name its scores`, "none", fix);
    }
    const program = trace(({ x }) => ({ confidence: gateConfidence(x, gate) }), {
      x: spec("float32", ["n", gates.classes]),
    });
    const wiring = { prefix: `${exit.name}/gate`, inputs: { x: exit.scores } };
    const attached = attachModel(model, programToModel(program, { opset }), wiring);
    model = attached.model;
    return { ...exit, confidence: attached.outputs.confidence! };
  });
  return defineExits(model, exits);
}
