import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import type { Device } from "../device/device.ts";
import { InputError } from "../errors.ts";
import { dtypeName } from "../onnx/dtypes.ts";
import { indexModel, requireModel } from "../onnx/graph.ts";
import { loopsIn } from "../onnx/loops.ts";
import { describeModel, type Model, opsetOf, type TensorInfo } from "../onnx/model.ts";
import { list, quoted, suggestion } from "../onnx/names.ts";
import { probeShapes } from "../onnx/shapes.ts";
import { elementTypes } from "../onnx/types.ts";
import { parseOptions } from "../options.ts";
import { sizeOf } from "../tensor.ts";
import { identifyModel } from "./identity.ts";
import { type RowsInspection, tryRows } from "./rows.ts";
import { type ScoreKind, type ShownScores, scoresByValues, shownScores } from "./scores.ts";
import { wordsOf } from "./words.ts";

/** What an output of a network is. */
export interface OutputInspection {
  readonly name: string;
  readonly dtype: string;
  /** For one sample, the batch's dimension first. */
  readonly shape: readonly number[];
  /** Scores of classes [n, k], of tokens [n, t, v] or of pixels [n, k, h, w]; else `other`. */
  readonly role: "classes" | "tokens" | "pixels" | "other";
  /** k: scores of a sample (of a token, of a pixel); 0 for `other`. */
  readonly classes: number;
  /** What its numbers are, as the graph shows it, else its values, else as it was said. */
  readonly scores: ShownScores;
}

/** What a network is, before anything is fitted to it. Plain data. */
export interface Inspection {
  /** sha256 of what the model computes; see `identifyModel`. */
  readonly identity: string;
  /** Version of the standard operator set. */
  readonly opset: number;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly OutputInspection[];
  /** The output that is meant: the one named, else the only one with scores; null where that is a question. */
  readonly output: OutputInspection | null;
  readonly rows: RowsInspection;
  /** Element types of floats and quantised numbers between the nodes, `float32` first. */
  readonly types: readonly string[];
  /** Shape of every tensor for one sample. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** What to know before fitting, a sentence each; empty for a network without peculiarities. */
  readonly notes: readonly string[];
  /** All of this in lines for a person. */
  readonly words: string;
}

/** Options of {@link inspectModel}. */
export interface InspectOptions {
  /** Name of the output that is meant. Default: the only one with scores. */
  readonly output?: string;
  /** What its numbers are, where neither graph nor values show it or they deceive. Default: what they show. */
  readonly scores?: "logits" | "probabilities";
  /** Shapes of inputs for one sample where the file does not state them, by name. */
  readonly inputShapes?: Readonly<Record<string, readonly number[]>>;
}

const optionsSchema = z.strictObject({
  output: z.string().min(1).optional(),
  scores: z.enum(["logits", "probabilities"]).optional(),
  inputShapes: z.record(z.string(), z.array(z.int().min(0))).default({}),
});

/**
 * Looks at a network before any pass: which output is meant and whether its numbers are logits or what a Softmax or Sigmoid
 * made of them, whether a row answers the same alone and among others, which element types and operator set it has, and what
 * it computes as one hash. Shapes and rows are found by running it on zeros and on a few random rows, so any operator will do;
 * of the same model on the same device once.
 *
 * @throws InputError on an output that is none, an unknown option, or where the model does not run on one sample.
 * @example
 * ```ts
 * import { inspectModel, openDevice, readModelFile } from "@exitkit/core-gpu";
 * const device = await openDevice("cpu");
 * const { output, rows, words } = await inspectModel(device, await readModelFile("network.onnx"));
 * console.assert(output?.scores.kind === "logits" && rows.independent && words.includes("logits"));
 * await device.close();
 * ```
 */
export async function inspectModel(device: Device, model: Model, options?: InspectOptions): Promise<Inspection> {
  checkArguments("core-gpu.inspectModel", { device: [device, "an open device"] });
  const parsed = parseOptions(caller, optionsSchema, options);
  requireModel(caller, model);
  // Models do not change: what was found on a device stays true.
  const ofDevice = known.get(device) ?? new WeakMap<object, Map<string, Promise<Inspection>>>();
  known.set(device, ofDevice);
  const ofModel = ofDevice.get(model.proto) ?? new Map<string, Promise<Inspection>>();
  ofDevice.set(model.proto, ofModel);
  const key = JSON.stringify(parsed);
  const found = ofModel.get(key) ?? inspect(device, model, parsed);
  ofModel.set(key, found);
  found.catch(() => ofModel.delete(key));
  return found;
}

const caller = "core-gpu.inspectModel";
const known = new WeakMap<Device, WeakMap<object, Map<string, Promise<Inspection>>>>();

async function inspect(
  device: Device,
  model: Model,
  { output: named, scores, inputShapes }: z.output<typeof optionsSchema>,
): Promise<Inspection> {
  const index = indexModel(caller, model);
  const { inputs, outputs: described } = describeModel(model);
  if (named !== undefined && !index.outputs.includes(named)) {
    const fix = suggestion(named, index.outputs);
    throw new InputError(caller, "output must be an output of the model", quoted(named), fix);
  }
  const shapes = await probeShapes(device, model, inputShapes);
  const trial = await tryRows(device, model, shapes);
  const outputs = described.map(({ name, dtype }): OutputInspection => {
    const shape = shapes.get(name) ?? [];
    const role = dtype === "float32" ? roleOf(shape) : "other";
    const classes = role === "other" ? 0 : role === "tokens" ? shape.at(-1)! : shape[1]!;
    const shown = shownScores(index, name, role === "classes" ? classes : undefined);
    const values = trial.outputs[name];
    const kind = (): ScoreKind =>
      shown.kind === "logits" && role === "classes" && values !== undefined
        ? scoresByValues(values.data as Float32Array, classes)
        : shown.kind;
    const said = name === (named ?? index.outputs[0]) ? scores : undefined;
    const known = said === undefined ? { ...shown, kind: kind() } : asSaid(shown, said);
    return { name, dtype, shape, role, classes, scores: known };
  });
  const scored = outputs.filter(({ role }) => role !== "other");
  const output = outputs.find(({ name }) => name === named) ?? (scored.length === 1 ? scored[0]! : null);
  const found = {
    identity: identifyModel(model),
    opset: opsetOf(model),
    inputs,
    outputs,
    output,
    rows: trial.rows,
    types: typesOf(index.graph),
    shapes,
  };
  const notes = notesOf(model, found, scored);
  return { ...found, notes, words: wordsOf({ ...found, notes }) };
}

function roleOf(shape: readonly number[]): OutputInspection["role"] {
  if (shape.length === 2) return "classes";
  if (shape.length === 3) return "tokens";
  return shape.length === 4 && sizeOf(shape.slice(2)) > 1 ? "pixels" : "other";
}

/** What the caller says goes before what the graph shows; a node that makes probabilities is still where logits are. */
function asSaid(shown: ShownScores, said: "logits" | "probabilities"): ShownScores {
  if (said === "logits") return { kind: "logits", node: null, logits: null };
  return shown.kind === "logits" ? { kind: "probabilities", node: null, logits: null } : shown;
}

const told = new Set(["float32", "float64", "float16", "bfloat16", "uint8", "int8", "uint16", "int16"]);

function typesOf(graph: ReturnType<typeof indexModel>["graph"]): readonly string[] {
  const made = new Set(graph.node.flatMap(({ output }) => output));
  const types = [...elementTypes(graph)].filter(([name]) => made.has(name)).map(([, type]) => dtypeName(type));
  const names = [...new Set(types)].filter((name) => told.has(name)).sort();
  return names.includes("float32") ? ["float32", ...names.filter((name) => name !== "float32")] : names;
}

function notesOf(
  model: Model,
  { outputs, output, rows, opset }: Pick<Inspection, "outputs" | "output" | "rows" | "opset">,
  scored: readonly OutputInspection[],
): readonly string[] {
  const notes: string[] = [];
  if (output === null && scored.length > 1)
    notes.push(`Several outputs hold scores: ${list(scored.map(({ name }) => name))}. Say which: output.`);
  if (output === null && scored.length === 0)
    notes.push(`No output holds scores of classes, tokens or pixels: ${list(outputs.map(({ name }) => name))}.`);
  if (output !== null && output.scores.kind !== "logits") {
    const { node, kind } = output.scores;
    const from = node === null ? "as its values show" : `made by ${node.operator} node ${quoted(node.name)}`;
    notes.push(`Output ${quoted(output.name)} holds ${kindWords[kind]}, ${from}; ${takenWords(output.scores)}`);
  }
  if (rows.refusal !== null) notes.push(`It runs on one sample at a time only: ${rows.refusal}`);
  if (!rows.independent) {
    const by = rows.culprit === null ? "" : ` by ${rows.culprit.operator} node ${quoted(rows.culprit.name)}`;
    notes.push(
      `The rows of a batch change each other's answers${by}, by ${Number((100 * rows.difference).toPrecision(2))} % of the largest.`,
    );
  }
  if (opset < 11 || opset > 23)
    notes.push(`Operator set ${opset}: it runs and exits can be attached; gradients need a set of 11 to 23.`);
  for (const { opType, name, output: made } of loopsIn(model))
    notes.push(`${opType} node ${quoted(name || made[0] || "")} decides how long a run takes: there is no deadline.`);
  return notes;
}

const kindWords: Readonly<Record<ScoreKind, string>> = {
  logits: "logits",
  logProbabilities: "log-probabilities",
  probabilities: "probabilities",
  sigmoid: "one probability of two classes",
  sigmoids: "a probability of each class by itself",
};

function takenWords({ kind, logits }: ShownScores): string {
  if (kind === "logProbabilities") return "they do as logits.";
  if (kind === "sigmoids") return "no single class is answered.";
  return logits === null ? "their logarithms do as logits." : `logits are taken before it, from "${logits}".`;
}
