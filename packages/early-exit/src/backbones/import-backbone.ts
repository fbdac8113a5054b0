import {
  addTaps,
  exportModel,
  type ImportedModel,
  InputError,
  importModel,
  type Model,
  onnx,
  parseOptions,
  type Shape,
  type Tensor,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { onlyOutputs } from "../exits/outputs.ts";
import type { Backbone } from "./backbone.ts";
import { answersOf, checkInput, featureShape } from "./shapes.ts";

/** Options of {@link importBackbone}. */
export interface ImportBackboneOptions {
  /** Names of tensors of the graph that exits may read, such as `proposeCuts` lists. */
  readonly taps: readonly string[];
  /**
   * Name of the output that holds the scores. Default: the only one. Behind a Softmax, or one sigmoid of two classes, the logits
   * in front of it are taken, as the output `output/logits`.
   */
  readonly output?: string;
  /**
   * What is done with a graph that has a node that takes something over the batch (batch norm in training mode, dynamic ranges in
   * 8 bits), so that a sample's answer depends on the others: `refuse` it, naming the operator (default), or `allow` it. What
   * is not known by its name shows when the network is opened: `openStaged`.
   */
  readonly mixedRows?: "refuse" | "allow";
  /** Shapes that the file does not state or states otherwise, by tensor; see `importModel`. */
  readonly shapes?: Readonly<Record<string, Shape>>;
}

const caller = "early-exit.importBackbone";

const optionsSchema = z.strictObject({
  taps: z.array(z.string().min(1)).min(1),
  output: z.string().min(1).optional(),
  mixedRows: z.enum(["refuse", "allow"]).default("refuse"),
  shapes: z.record(z.string(), z.array(z.union([z.int().min(0), z.string()]))).default({}),
});

/**
 * Makes a backbone of an ONNX classifier, operator sets 11 to 23. Parameters keep the names of the file's initializers;
 * {@link Backbone.toModel} gives the file's own nodes with other weights in them. Operators without a gradient do not
 * hinder training the exits alone.
 *
 * @throws InputError on an unknown option or tap, several inputs, several outputs and none named, logits that are not
 * [n, k] or [n, u, k], a node that takes something over the batch, a batch dimension that is not symbolic, a tap of unknown shape, or as `importModel`.
 * @example
 * ```ts
 * import { proposeCuts, readModelFile } from "@exitkit/core-gpu";
 * import { importBackbone } from "@exitkit/early-exit";
 * const model = await readModelFile("network.onnx");
 * const backbone = importBackbone(model, { taps: proposeCuts(model).slice(1, 3) });
 * console.assert(backbone.classes === 4 && backbone.taps["/one/Relu_1_output_0"]?.join() === "4,8,8");
 * ```
 */
export function importBackbone(model: Model, options: ImportBackboneOptions): Backbone {
  const parsed = parseOptions(caller, optionsSchema, options);
  const { taps } = parsed;
  checkTaps(model, taps);
  const named = outputOf(model, parsed.output);
  const { model: plain, output } = withLogits(onlyOutputs(model, [named]), named);
  if (parsed.mixedRows === "refuse") {
    onnx.checkKnownRows(caller, addTaps(plain, taps), 'Or take it as it is: mixedRows: "allow".');
  }
  const network = importModel(addTaps(plain, taps), { shapes: parsed.shapes });
  const [input, ...others] = Object.keys(network.inputs);
  if (input === undefined || others.length > 0) {
    const names = Object.keys(network.inputs).map(onnx.quoted).join(", ");
    throw new InputError(caller, "the model must have exactly one input", names || "none");
  }
  const spec = network.inputs[input]!;
  checkInput(caller, `input ${onnx.quoted(input)}`, spec);
  const trainable = new Set(network.trainable);
  return {
    params: network.params,
    input: spec,
    ...answersOf(caller, output, network.outputs[output]!),
    taps: Object.fromEntries(taps.map((tap) => [tap, featureShape(caller, tap, network.outputs[tap]!)])),
    output,
    opset: network.opset,
    isTrainable: (path) => trainable.has(path),
    apply: (params, x, training) => {
      const { outputs, updated } = run(network, params as Record<string, Value>, { [input]: x }, training);
      return {
        logits: outputs[output]!,
        taps: Object.fromEntries(taps.map((tap) => [tap, outputs[tap]!])),
        updated,
      };
    },
    toModel: (params) => exportModel(plain, params as Readonly<Record<string, Tensor>>),
  };
}

/** The model with logits as its output: taken in front of a Softmax or of one sigmoid, where the graph ends in such. */
function withLogits(model: Model, output: string): onnx.LogitsModel {
  const shown = onnx.scoresShown(model, output);
  if (shown.kind === "sigmoids") {
    const fix = "Exits choose one class: export the network without it, or with a softmax.";
    const actual = `${onnx.quoted(output)} behind the Sigmoid node ${onnx.quoted(shown.node!.name)}`;
    throw new InputError(caller, "the output must hold scores of which one class is the largest", actual, fix);
  }
  return onnx.takeLogits(model, output, shown, 0);
}

function run(
  network: ImportedModel,
  params: Readonly<Record<string, Value>>,
  inputs: Readonly<Record<string, Value>>,
  training: boolean,
): { readonly outputs: Readonly<Record<string, Value>>; readonly updated: Readonly<Record<string, Value>> } {
  if (!training) return { outputs: network.apply(params, inputs), updated: {} };
  const { outputs, statistics } = network.applyTraining(params, inputs);
  return { outputs, updated: statistics };
}

function checkTaps(model: Model, taps: readonly string[]): void {
  const graph = model?.proto?.graph;
  if (graph === undefined) {
    const fix = "Read the file first: await readModelFile(path).";
    throw new InputError(caller, "the model must be a Model", typeof model, fix);
  }
  const made = new Set(graph.node.flatMap((node) => node.output));
  const unknown = taps.find((tap) => !made.has(tap));
  if (unknown !== undefined) {
    const fix = onnx.suggestion(unknown, made);
    throw new InputError(caller, "taps must be tensors that the graph computes", onnx.quoted(unknown), fix);
  }
}

function outputOf(model: Model, named: string | undefined): string {
  const names = model.proto.graph!.output.map(({ name }) => name);
  if (named === undefined && names.length === 1) return names[0]!;
  if (named !== undefined && names.includes(named)) return named;
  const actual = named === undefined ? names.map(onnx.quoted).join(", ") : onnx.quoted(named);
  const expectation = named === undefined ? "the model must have one output" : "output must be an output of the model";
  throw new InputError(caller, expectation, actual, `Pass output: one of ${names.map(onnx.quoted).join(", ")}.`);
}
