import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { changed, indexModel, tensorNames } from "./graph.ts";
import type { Model } from "./model.ts";
import { quoted, suggestion } from "./names.ts";
import { valueInfo } from "./types.ts";

/**
 * Makes tensors inside a model outputs of it, in addition to those it has. Names that are outputs already stay as they
 * are. Nothing is computed twice: taps only keep ONNX Runtime from fusing the tapped tensor away.
 *
 * @param names Tensors of the model's graph (not of the bodies of If, Loop or Scan).
 * @returns A new model that shares the weights; its outputs are the old ones, then the new ones in the order given.
 * @throws InputError when the graph has no tensor of that name.
 * @example
 * ```ts
 * import { addTaps, describeModel, readModelFile } from "@exitkit/core-gpu";
 * const model = await readModelFile("network.onnx");
 * const tapped = addTaps(model, ["/one/Relu_1_output_0"]);
 * console.assert(describeModel(tapped).outputs.length === 2);
 * ```
 */
export function addTaps(model: Model, names: readonly string[]): Model {
  const caller = "core-gpu.addTaps";
  checkArguments(caller, { names: [names, "a list"] });
  const index = indexModel(caller, model);
  const known = tensorNames(index);
  for (const name of names) {
    if (!known.has(name)) {
      throw new InputError(caller, "names must be tensors of the model", quoted(name), suggestion(name, known));
    }
  }
  const fresh = [...new Set(names)].filter((name) => !index.outputs.includes(name));
  if (fresh.length === 0) return model;
  const { graph } = index;
  // Where the file does not state a type, ONNX Runtime infers it.
  const output = [...graph.output, ...fresh.map((name) => valueInfo(graph, name))];
  return { proto: changed(model.proto, { graph: changed(graph, { output }) }) };
}
