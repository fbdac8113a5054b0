import { checkArguments, InputError, type Model, onnx } from "@exitkit/core-gpu";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import { cutAtExits } from "../exits/stages.ts";
import { fuseSingle, MOST_FUSED_EXITS, SINGLE_OUTPUTS } from "../staged/fuse.ts";
import { heldThresholds } from "../thresholds/held-thresholds.ts";

/**
 * Makes one plain ONNX model that stops early by itself, for one sample at a time: the stages behind an exit lie in the
 * branch of an `If` that is not taken when the sample is sure enough, so a stock ONNX runtime computes nothing of them.
 *
 * Input: the network's own, with a batch of 1. Outputs, each of shape `[1]`: `prediction` int64, the class; `exit` int64,
 * the index of the exit that answered, e − 1 for the full network; `confidence` float32 at that exit. The thresholds are
 * constants of the file. The operator set stays the network's own; only operators that have been the same since version 11
 * are added (Greater, If, Identity, Constant).
 *
 * @param thresholds `[e − 1]`, rounded to float32; a sample leaves when its confidence is strictly greater. `NEVER` switches
 * an exit off, `ALWAYS` makes it the last.
 * @throws InputError on a wrong number of thresholds or NaN, more than 30 exits (ONNX Runtime decodes no deeper nesting),
 * exits that do not fit the model, a batch dimension that is fixed at another size than 1, or an input called
 * `prediction`, `exit` or `confidence`.
 * @example
 * ```ts
 * import { attachModel, programToModel, readModelFile, spec, trace, writeModelFile } from "@exitkit/core-gpu";
 * import { confidenceOf, defineExits, exportSingle, predictionOf } from "@exitkit/early-exit";
 * const answer = trace(
 *   ({ x }) => ({ confidence: confidenceOf(x, "maxProbability"), prediction: predictionOf(x) }),
 *   { x: spec("float32", ["n", 4]) },
 * );
 * const wiring = { prefix: "full", inputs: { x: "logits" } };
 * const { model, outputs } = attachModel(await readModelFile("network.onnx"), programToModel(answer, { opset: 17 }), wiring);
 * const { confidence, prediction } = outputs;
 * // Its only exit is the full network's own head: no thresholds. `attachModel` puts early ones there.
 * const network = defineExits(model, [{ name: "full", tap: "logits", confidence: confidence!, prediction: prediction! }]);
 * await writeModelFile("single.onnx", exportSingle(network, []));
 * ```
 */
export function exportSingle(exitModel: ExitModel, thresholds: readonly number[]): Model {
  const caller = "early-exit.exportSingle";
  checkArguments(caller, { exitModel: [exitModel, EXIT_MODEL] });
  const { input, exits } = exitModel;
  if (exits.length > MOST_FUSED_EXITS) {
    const fix = "Use exportStages, or fewer exits.";
    throw new InputError(caller, `one model holds at most ${MOST_FUSED_EXITS} exits`, `${exits.length}`, fix);
  }
  if (Object.values<string>(SINGLE_OUTPUTS).includes(input)) {
    const names = Object.values(SINGLE_OUTPUTS).map(onnx.quoted).join(", ");
    const fix = "Rename the input before the exits are attached.";
    throw new InputError(caller, `the input must not be called as an output is (${names})`, onnx.quoted(input), fix);
  }
  const held = heldThresholds(caller, exits.length, thresholds);
  const fused = fuseSingle(exitModel, cutAtExits(caller, exitModel));
  const { proto } = fused.model;
  const graph = proto.graph!;
  const constants = fused.thresholds.map((name, j) =>
    onnx.create(onnx.TensorProtoSchema, { name, dataType: onnx.DataType.FLOAT, dims: [1n], floatData: [held[j]!] }),
  );
  const top = onnx.changed(graph, {
    input: graph.input.filter(({ name }) => name === input).map((info) => oneSample(caller, info)),
    initializer: [...graph.initializer, ...constants],
  });
  return { proto: onnx.changed(proto, { graph: top }) };
}

/** The input with its batch dimension, where the number of dimensions is stated, fixed at 1. */
function oneSample(caller: string, info: onnx.ValueInfoProto): onnx.ValueInfoProto {
  const { type } = info;
  if (type?.value.case !== "tensorType" || type.value.value.shape === undefined) return info;
  const { shape } = type.value.value;
  const [batch, ...rest] = shape.dim;
  if (batch === undefined) {
    throw new InputError(caller, `input "${info.name}" must have the batch as its first dimension`, "a scalar");
  }
  if (batch.value.case === "dimValue" && batch.value.value !== 1n) {
    const fix = "Export the network with a symbolic (dynamic) batch dimension.";
    const expectation = `the batch dimension of input "${info.name}" must be symbolic or 1`;
    throw new InputError(caller, expectation, `${batch.value.value}`, fix);
  }
  const one = onnx.changed(batch, { value: { case: "dimValue", value: 1n } });
  const value = onnx.changed(type.value.value, { shape: onnx.changed(shape, { dim: [one, ...rest] }) });
  return onnx.changed(info, { type: onnx.changed(type, { value: { case: "tensorType", value } }) });
}
