import { z } from "zod";
import { InputError } from "../../errors.ts";
import { type GraphIndex, indexModel, requireModel } from "../../onnx/graph.ts";
import { type Model, opsetOf } from "../../onnx/model.ts";
import { list, quoted, suggestion } from "../../onnx/names.ts";
import { parseOptions } from "../../options.ts";
import type { Tensor } from "../../tensor.ts";
import { type Dimension, printShape, type Shape } from "../dimensions.ts";
import { printSpec, type Spec, spec } from "../spec.ts";
import { isValue, makeValue, type Value } from "../value.ts";
import { applyGraph, type OpaqueNode, type Result, type Source } from "./environment.ts";
import { inlineFunctions } from "./inline.ts";
import { dtypeOf, type Entry, Unsupported, valueEntry } from "./node.ts";
import { readWeights, statisticsOf } from "./parameters.ts";
import { inputShape, readStated } from "./stated.ts";

const caller = "core-gpu.importModel";

/** Options of {@link importModel}. */
export interface ImportModelOptions {
  /** Shapes of graph inputs, or of outputs of opaque nodes, that the file does not state or states otherwise; by name. */
  readonly shapes?: Readonly<Record<string, Shape>>;
  /** Names of initializers that are constants of the program instead of parameters. Default: none. */
  readonly constants?: readonly string[];
}

/** Values for the parameters and inputs of a model, by name; tensors are constants. */
type Given = Readonly<Record<string, Value | Tensor>>;

/** A model whose computation is a function of its parameters and inputs. */
export interface ImportedModel {
  /** The float initializers, by their own names. They may be views of the model's bytes. */
  readonly params: Readonly<Record<string, Tensor>>;
  /** Names of the parameters that an optimiser changes: all but running statistics and those that hold infinities. */
  readonly trainable: readonly string[];
  /** What `apply` takes, by name; dimensions that the file leaves open are symbols. */
  readonly inputs: Readonly<Record<string, Spec>>;
  /** What `apply` gives for such inputs, by name. */
  readonly outputs: Readonly<Record<string, Spec>>;
  /** Nodes that no operator of `ops` expresses. They run as they are (in a model of {@link opset}) and have no gradient. */
  readonly opaque: readonly OpaqueNode[];
  /** The version of the operator set of the file. */
  readonly opset: number;
  /**
   * The model's outputs, by name, as in inference: normalisation with the running statistics, no dropout.
   *
   * @throws InputError on a missing or unknown name, or where an operator refuses a value (naming the node).
   */
  apply(params: Given, inputs: Given): Record<string, Value>;
  /** The same with batch normalisation as in training, and what the step makes of the running statistics. No dropout. */
  applyTraining(params: Given, inputs: Given): TrainingResult;
}

/** What a model gives in training. */
export interface TrainingResult {
  readonly outputs: Record<string, Value>;
  /** By the name of the parameter that holds it, the running mean or variance after this batch. */
  readonly statistics: Record<string, Value>;
}

const optionsSchema = z.strictObject({
  shapes: z.record(z.string(), z.array(z.union([z.int().min(0), z.string()]))).default({}),
  constants: z.array(z.string()).default([]),
});

/**
 * Turns an ONNX model (operator sets 11 to 23) into a function of its parameters and inputs that can stand in a traced
 * program, be differentiated and fine-tuned. {@link exportModel} writes trained parameters back into the model.
 *
 * Each node becomes operators of `ops`. Constants, `Identity` chains and the arithmetic with shapes that exporters write are
 * computed now, with symbolic sizes too. A node that `ops` has no operator for is kept as it is: it runs, and has no
 * gradient; `gradients` names it where one is needed.
 *
 * Parameters are the float32 and float64 initializers, but for scalars and for operands that must be known (the limits of
 * `Clip`): those are constants, as are whole numbers.
 *
 * Differs: the running variance of batch normalisation is a mean of the batches' unbiased variances, as PyTorch computes it; ONNX
 * defines the biased one.
 *
 * @throws InputError on another operator set, unknown names in the options, weights outside the model or (float16) of a dtype
 * that host tensors cannot hold, an input without a stated number of dimensions, or an opaque node of whose outputs type or
 * shape are not known.
 * @example
 * ```ts
 * import { gradients, importModel, ops, readModelFile, trace } from "@exitkit/core-gpu";
 * const network = importModel(await readModelFile("network.onnx"));
 * const step = trace(
 *   ({ params, x }) => {
 *     const { logits } = network.apply(params, { x });
 *     const trained = Object.fromEntries(network.trainable.map((name) => [name, params[name]!]));
 *     const loss = ops.mean(ops.square(logits!));
 *     return { loss, gradients: gradients(loss, trained) };
 *   },
 *   { params: network.params, x: network.inputs.x! },
 * );
 * console.assert(step.outputs.length === 1 + network.trainable.length);
 * ```
 */
export function importModel(model: Model, options?: ImportModelOptions): ImportedModel {
  const { shapes, constants } = parseOptions(caller, optionsSchema, options);
  requireModel(caller, model);
  const opset = opsetOf(model);
  if (opset < 11 || opset > 23) {
    const fix = "Convert it with onnx.version_converter or export it again; what needs no gradient takes it as it is.";
    throw new InputError(caller, "the model must use operator set 11 to 23 to be differentiated", String(opset), fix);
  }
  const index = indexModel(caller, inlineFunctions(model));
  const stated = readStated(index.graph, shapes);
  const source: Source = { caller, index, opset, imports: model.proto.opsetImport, stated, refused: new Map() };
  const weights = readWeights(caller, index, constants);
  const inputs = Object.fromEntries([...index.inputs].map((name) => [name, inputSpec(source, name)]));
  checkShapeNames(index, shapes);

  const run = (params: Given, given: Given, mode: "trial" | "inference" | "training"): Result => {
    checkNames("parameters", params, weights.params);
    checkNames("inputs", given, inputs);
    const entries = new Map<string, Entry>(weights.constants);
    for (const [name, value] of Object.entries(params)) entries.set(name, asEntry(name, value, weights.params[name]!));
    for (const [name, value] of Object.entries(given)) entries.set(name, asEntry(name, value, inputs[name]!));
    return applyGraph(source, entries, boundSymbols(source, given), mode);
  };
  const dry = run(
    weights.params,
    mapValues(inputs, (input, name) => makeValue(input, { kind: "input", name })),
    "trial",
  );
  const statistics = statisticsOf(index);
  return {
    params: weights.params,
    trainable: Object.entries(weights.params).flatMap(([name, { data }]) =>
      statistics.has(name) || !(data as Float32Array).every(Number.isFinite) ? [] : [name],
    ),
    inputs,
    outputs: mapValues(dry.outputs, ({ dtype, shape }) => ({ dtype, shape })),
    opaque: dry.opaque,
    opset,
    apply: (params, given) => ({ ...run(params, given, "inference").outputs }),
    applyTraining(params, given) {
      const { outputs, updates } = run(params, given, "training");
      return { outputs: { ...outputs }, statistics: { ...updates } };
    },
  };
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A, name: string) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value, name)]));
}

function inputSpec({ stated }: Source, name: string): Spec {
  const shape = inputShape(stated, name);
  if (shape === undefined) {
    const fix = `Pass { shapes: { ${quoted(name)}: [...] } }.`;
    throw new InputError(caller, "every input must have a known number of dimensions", quoted(name), fix);
  }
  try {
    return spec(dtypeOf(stated.elementType(name)), shape);
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    throw new InputError(caller, `input ${quoted(name)} must have a dtype of host tensors`, error.message);
  }
}

function checkShapeNames(index: GraphIndex, shapes: Readonly<Record<string, Shape>>): void {
  for (const name of Object.keys(shapes)) {
    if (index.inputs.has(name) || index.producer.has(name)) continue;
    const fix = suggestion(name, [...index.inputs, ...index.producer.keys()]);
    throw new InputError(caller, "shapes must name inputs or tensors that nodes make", quoted(name), fix);
  }
}

function checkNames(what: string, given: Given, wanted: Readonly<Record<string, unknown>>): void {
  const missing = Object.keys(wanted).filter((name) => given[name] === undefined);
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(wanted, name));
  if (missing.length > 0) {
    const more = missing.length > 5 ? ` and ${missing.length - 5} more` : "";
    throw new InputError(
      caller,
      `all ${what} of the model must be given`,
      `none for ${list(missing.slice(0, 5))}${more}${unknown.length === 0 ? "" : `, and unknown ${list(unknown.slice(0, 5))}`}`,
    );
  }
  for (const name of unknown) {
    throw new InputError(
      caller,
      `${what} must be those of the model`,
      quoted(name),
      suggestion(name, Object.keys(wanted)),
    );
  }
}

function asEntry(name: string, value: Value | Tensor, wanted: Spec): Entry {
  const fits =
    value.dtype === wanted.dtype &&
    value.shape.length === wanted.shape.length &&
    wanted.shape.every((size, axis) => typeof size === "string" || value.shape[axis] === size);
  if (!fits) {
    const actual = `${value.dtype} ${printShape(value.shape)}`;
    throw new InputError(caller, `${quoted(name)} must be ${printSpec(wanted)}`, actual);
  }
  // A frozen parameter is a constant of the program, but shapes must not come to depend on it.
  return valueEntry(isValue(value) ? value : makeValue(value, { kind: "constant", tensor: value }));
}

/** What the file's symbols are among the inputs that were given. */
function boundSymbols({ stated }: Source, given: Given): ReadonlyMap<string, Dimension> {
  const bound = new Map<string, Dimension>();
  for (const [name, { shape }] of Object.entries(given)) {
    stated.dimensions(name)?.forEach((dimension, axis) => {
      if (typeof dimension === "string") bound.set(dimension, shape[axis]!);
    });
  }
  return bound;
}
