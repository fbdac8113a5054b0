import { describeModel, type Model, onnx } from "@exitkit/core-gpu";
import type { BatchLayout } from "../exits/batch-axis.ts";
import type { ExitModel } from "../exits/exits.ts";
import type { ExitStages } from "../exits/stages.ts";

/** A whole staged network in one model. */
export interface Fused {
  readonly model: Model;
  /** `[e − 1]`: names of the inputs float32 `[1]` that take the thresholds. */
  readonly thresholds: readonly string[];
  /** `[e]`: outputs with the answers of the rows that reached each exit, in their order; none where no row did. */
  readonly answers: readonly { readonly confidence: string; readonly prediction: string }[];
}

/** ONNX Runtime decodes 100 nested messages at most; every `If` takes three of them. */
export const MOST_FUSED_EXITS = 30;

/** A whole network for one sample in one model, which answers once. */
export interface FusedSingle {
  readonly model: Model;
  /** `[e − 1]`: names of the inputs float32 `[1]` that take the thresholds. */
  readonly thresholds: readonly string[];
}

/** Outputs of {@link fuseSingle}'s model, each of shape `[1]`. */
export const SINGLE_OUTPUTS = { confidence: "confidence", prediction: "prediction", exit: "exit" } as const;

/** Names of the tensors with one exit's answers, or with the only answer: then `exit` says whose it is. */
interface Answer {
  readonly confidence: string;
  readonly prediction: string;
  readonly exit?: string;
}

type Scope = ReadonlyMap<string, string>;

interface Body {
  readonly graph: onnx.GraphProto;
  /** Answers of this exit and all behind it; only one where a network answers once. */
  readonly answers: readonly Answer[];
}

type RowTensors = BatchLayout["rowTensors"];

const { FLOAT, INT64, BOOL } = onnx.DataType;

/**
 * Builds one model that runs a network stage by stage and stops where nothing is left to do.
 *
 * The stage's own nodes; then `rows = NonZero(not (confidence > threshold))`; `Gather` of those rows of every carried
 * tensor that has a row for every sample (a `Compress` would copy on one thread); then `If (any row)` with the next stage
 * inside it. Weights lie in the graph of the stage that uses them and the compacted tensors state their shapes, so that
 * the runtime optimises a nested stage as it does a plain network: without the shapes it does not see that the two sides
 * of a residual addition have the same number of rows. Compacting stands in front of the `If` rather than in it, so that
 * the uncompacted tensors can be freed before the next stage runs. Only operators that are the same from operator set 11
 * on are added.
 *
 * @param rowTensors The carried tensors that have a row for every sample and are to be compacted. None for a model that
 * runs one sample at a time: it goes on or not, and nothing is copied.
 */
export function fuse(exitModel: ExitModel, stages: ExitStages, rowTensors: RowTensors): Fused {
  const { graph, thresholds, answers } = nest(exitModel, stages, rowTensors, false);
  return { model: topModel(exitModel, stages, graph, thresholds, values(answers)), thresholds, answers };
}

/**
 * Builds one model for one sample with a single answer, the one of the exit it left at: {@link fuse} for one sample, but
 * every `If` hands on the answer of the branch that was taken.
 */
export function fuseSingle(exitModel: ExitModel, stages: ExitStages): FusedSingle {
  const { graph, thresholds, answers } = nest(exitModel, stages, new Map(), true);
  const node = (["confidence", "prediction", "exit"] as const).map((key) =>
    identity(answers[0]![key]!, SINGLE_OUTPUTS[key]),
  );
  const whole = onnx.changed(graph, { node: [...graph.node, ...node] });
  return { model: topModel(exitModel, stages, whole, thresholds, values([SINGLE_OUTPUTS], 1)), thresholds };
}

function topModel(
  { input }: ExitModel,
  stages: ExitStages,
  graph: onnx.GraphProto,
  thresholds: readonly string[],
  output: onnx.ValueInfoProto[],
): Model {
  const source = stages.model.proto;
  const inputs = source.graph!.input.filter(({ name }) => name === input);
  const top = onnx.changed(graph, { input: [...inputs, ...thresholds.map((name) => vector(name, FLOAT, 1))], output });
  // From version 4 on, initializers need not be listed as inputs.
  const irVersion = source.irVersion < 4n ? 4n : source.irVersion;
  return { proto: onnx.changed(source, { graph: top, irVersion, trainingInfo: [] }) };
}

/** The nested graphs; with `once`, a network for one sample that answers once. */
function nest(exitModel: ExitModel, stages: ExitStages, rowTensors: RowTensors, once: boolean) {
  const { input, exits } = exitModel;
  const single = rowTensors.size === 0;
  const names = new Set([input, ...(once ? Object.values(SINGLE_OUTPUTS) : [])]);
  const thresholds = exits.slice(0, -1).map((_, j) => onnx.uniqueName(`threshold${j}`, names));
  return { ...stageBody(0, new Map([[input, input]])), thresholds };

  function stageBody(j: number, scope: Scope): Body {
    const { model } = stages.stages[j]!;
    const given = new Set(describeModel(model).inputs.map(({ name }) => name));
    const renamed = new Map([...scope].filter(([name]) => given.has(name)));
    const rename = (name: string): string => {
      if (name === "") return name;
      const known = renamed.get(name);
      if (known !== undefined) return known;
      const fresh = onnx.uniqueName(name, names);
      renamed.set(name, fresh);
      return fresh;
    };
    const copy = onnx.copyGraph(model.proto.graph!, rename, "");
    const exit = exits[j]!;
    const here: Answer = { confidence: rename(exit.confidence), prediction: rename(exit.prediction) };
    const stage = onnx.changed(copy, { input: [], output: [] });
    if (j === exits.length - 1) return once ? answered(stage, here, j) : { graph: stage, answers: [here] };

    const at = (what: string) => onnx.uniqueName(`stage${j}/${what}`, names);
    const nodes: onnx.NodeProto[] = [];
    const add = (opType: string, inputs: string[], output: string, attribute: onnx.NodeProto["attribute"] = []) => {
      nodes.push(
        onnx.create(onnx.NodeProtoSchema, { name: output, opType, input: inputs, output: [output], attribute }),
      );
      return output;
    };
    const leaves = add("Greater", [here.confidence, thresholds[j]!], at("leaves"));
    const next = new Map(stages.carried[j]!.map((name) => [name, renamed.get(name) ?? scope.get(name)!]));
    const initializer: onnx.TensorProto[] = [];
    const valueInfo: onnx.ValueInfoProto[] = [];
    let condition = leaves;
    if (!single) {
      const found = add("NonZero", [add("Not", [leaves], at("keep"))], at("found"));
      const flat = { name: at("flat"), dataType: INT64, dims: [1n], int64Data: [-1n] };
      initializer.push(onnx.create(onnx.TensorProtoSchema, flat));
      const rows = add("Reshape", [found, flat.name], at("rows"));
      condition = add("Cast", [add("Size", [rows], at("count"))], at("any"), [int("to", BOOL)]);
      const kept = at("kept").replaceAll("/", "_");
      for (const [name, current] of next) {
        const row = rowTensors.get(name);
        if (row === undefined) continue;
        const gathered = add("Gather", [current, rows], at(`rows/${name}`), [int("axis", 0)]);
        next.set(name, gathered);
        valueInfo.push(info(gathered, onnx.dataTypeOf(row.dtype), [kept, ...row.shape]));
      }
    }

    const inner = stageBody(j + 1, next);
    const outer = inner.answers.map(({ exit }, later) => ({
      confidence: at(`confidence${j + 1 + later}`),
      prediction: at(`prediction${j + 1 + later}`),
      ...(exit === undefined ? {} : { exit: at("exit") }),
    }));
    const goingOn = onnx.changed(inner.graph, { output: values(inner.answers, once ? 1 : undefined) });
    const left = once ? leave(here, j) : nothing(inner.answers.length, at);
    nodes.push(
      onnx.create(onnx.NodeProtoSchema, {
        name: at("If"),
        opType: "If",
        input: [condition],
        output: values(outer).map(({ name }) => name),
        attribute: [
          branch(single ? "else_branch" : "then_branch", goingOn),
          branch(single ? "then_branch" : "else_branch", left),
        ],
      }),
    );
    return {
      graph: onnx.changed(stage, {
        node: [...stage.node, ...nodes],
        initializer: [...stage.initializer, ...initializer],
        valueInfo: [...stage.valueInfo, ...valueInfo],
      }),
      answers: once ? outer : [here, ...outer],
    };
  }

  /** The last exit's graph with the number of the exit beside its answer. */
  function answered(stage: onnx.GraphProto, here: Answer, j: number): Body {
    const exit = onnx.uniqueName(`stage${j}/exit`, names);
    const node = [...stage.node, constant(exit, INT64, [BigInt(j)])];
    return { graph: onnx.changed(stage, { node }), answers: [{ ...here, exit }] };
  }

  /** The branch of a sample that leaves here: a body's outputs must be made inside it. */
  function leave(here: Answer, j: number): onnx.GraphProto {
    const at = (what: string) => onnx.uniqueName(`stage${j}/left/${what}`, names);
    const answer = { confidence: at("confidence"), prediction: at("prediction"), exit: at("exit") };
    const node = [
      identity(here.confidence, answer.confidence),
      identity(here.prediction, answer.prediction),
      constant(answer.exit, INT64, [BigInt(j)]),
    ];
    return onnx.create(onnx.GraphProtoSchema, { name: at("graph"), node, output: values([answer], 1) });
  }
}

/** The branch taken where no row goes on: no rows for any of the later exits. */
function nothing(later: number, at: (what: string) => string): onnx.GraphProto {
  const none = Array.from({ length: later }, () => ({ confidence: at("none"), prediction: at("none") }));
  return onnx.create(onnx.GraphProtoSchema, {
    name: at("nothing"),
    node: none.flatMap(({ confidence, prediction }) => [
      constant(confidence, FLOAT, []),
      constant(prediction, INT64, []),
    ]),
    output: values(none, 0),
  });
}

/** Types of answers, in the order in which graphs put them out. */
function values(answers: readonly Answer[], length?: number): onnx.ValueInfoProto[] {
  return answers.flatMap(({ confidence, prediction, exit }) => [
    vector(confidence, FLOAT, length),
    vector(prediction, INT64, length),
    ...(exit === undefined ? [] : [vector(exit, INT64, length)]),
  ]);
}

function identity(from: string, to: string): onnx.NodeProto {
  return onnx.create(onnx.NodeProtoSchema, { name: to, opType: "Identity", input: [from], output: [to] });
}

function int(name: string, value: number) {
  return onnx.create(onnx.AttributeProtoSchema, { name, type: onnx.AttributeType.INT, i: BigInt(value) });
}

function branch(name: string, g: onnx.GraphProto) {
  return onnx.create(onnx.AttributeProtoSchema, { name, type: onnx.AttributeType.GRAPH, g });
}

/** A Constant node, a vector. */
function constant(name: string, dataType: number, int64Data: bigint[]): onnx.NodeProto {
  const t = onnx.create(onnx.TensorProtoSchema, { dataType, dims: [BigInt(int64Data.length)], int64Data });
  const attribute = [onnx.create(onnx.AttributeProtoSchema, { name: "value", type: onnx.AttributeType.TENSOR, t })];
  return onnx.create(onnx.NodeProtoSchema, { name, opType: "Constant", output: [name], attribute });
}

function vector(name: string, elemType: number, length: number | undefined): onnx.ValueInfoProto {
  return info(name, elemType, [length]);
}

/** Name, dtype and shape of a tensor; a dimension is a size, the name of one, or not known. */
export function info(
  name: string,
  elemType: number,
  shape: readonly (number | string | undefined)[],
): onnx.ValueInfoProto {
  const dim = shape.map((size) => {
    if (size === undefined) return {};
    return typeof size === "number"
      ? { value: { case: "dimValue" as const, value: BigInt(size) } }
      : { value: { case: "dimParam" as const, value: size } };
  });
  return onnx.create(onnx.ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType, shape: { dim } } } },
  });
}
