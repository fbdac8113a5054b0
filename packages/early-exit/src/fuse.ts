import { describeModel, type Model, onnx } from "@exitkit/core-gpu";
import type { BatchLayout } from "./batchAxis.ts";
import type { ExitModel } from "./exits.ts";
import type { ExitStages } from "./stages.ts";

/** A whole staged network in one model. */
export interface Fused {
  readonly model: Model;
  /** Name of the input float32 `[e − 1]` that takes the thresholds; null when there is only one exit. */
  readonly thresholds: string | null;
  /** `[e]`: outputs with the answers of the rows that reached each exit, in their order; none where no row did. */
  readonly answers: readonly { readonly confidence: string; readonly prediction: string }[];
}

/** ONNX Runtime decodes 100 nested messages at most; every `If` takes three of them. */
export const MOST_FUSED_EXITS = 30;

type Answer = Fused["answers"][number];
type Scope = ReadonlyMap<string, string>;

interface Body {
  readonly graph: onnx.GraphProto;
  /** Answers of this exit and all behind it. */
  readonly answers: readonly Answer[];
}

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
 * @param rowTensors The carried tensors that have a row for every sample and are to be compacted.
 */
export function fuse(exitModel: ExitModel, stages: ExitStages, rowTensors: BatchLayout["rowTensors"]): Fused {
  const { input, exits } = exitModel;
  const names = new Set([input]);
  const thresholds = exits.length > 1 ? onnx.uniqueName("thresholds", names) : null;
  const { graph, answers } = stageBody(0, new Map([[input, input]]));
  const source = stages.model.proto;
  const inputs = source.graph!.input.filter(({ name }) => name === input);
  const output = answers.flatMap(({ confidence, prediction }) => [
    vector(confidence, FLOAT, undefined),
    vector(prediction, INT64, undefined),
  ]);
  const top = onnx.changed(graph, {
    input: thresholds === null ? inputs : [...inputs, vector(thresholds, FLOAT, exits.length - 1)],
    output,
  });
  // From version 4 on, initializers need not be listed as inputs.
  const irVersion = source.irVersion < 4n ? 4n : source.irVersion;
  return { model: { proto: onnx.changed(source, { graph: top, irVersion, trainingInfo: [] }) }, thresholds, answers };

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
    if (thresholds === null || j === exits.length - 1) return { graph: stage, answers: [here] };

    const at = (what: string) => onnx.uniqueName(`stage${j}/${what}`, names);
    const nodes: onnx.NodeProto[] = [];
    const add = (opType: string, inputs: string[], output: string, attribute: onnx.NodeProto["attribute"] = []) => {
      nodes.push(
        onnx.create(onnx.NodeProtoSchema, { name: output, opType, input: inputs, output: [output], attribute }),
      );
      return output;
    };
    const index = at("index");
    const threshold = add("Gather", [thresholds, index], at("threshold"), [int("axis", 0)]);
    const leaves = add("Greater", [here.confidence, threshold], at("leaves"));
    const found = add("NonZero", [add("Not", [leaves], at("keep"))], at("found"));
    const flat = at("flat");
    const rows = add("Reshape", [found, flat], at("rows"));
    const any = add("Cast", [add("Size", [rows], at("count"))], at("any"), [int("to", BOOL)]);
    const next = new Map<string, string>();
    const valueInfo: onnx.ValueInfoProto[] = [];
    for (const name of stages.carried[j]!) {
      const current = renamed.get(name) ?? scope.get(name)!;
      const row = rowTensors.get(name);
      const gathered =
        row === undefined ? current : add("Gather", [current, rows], at(`rows/${name}`), [int("axis", 0)]);
      next.set(name, gathered);
      if (row !== undefined) {
        valueInfo.push(info(gathered, onnx.dataTypeOf(row.dtype), [at("kept").replaceAll("/", "_"), ...row.shape]));
      }
    }

    const inner = stageBody(j + 1, next);
    const outer = inner.answers.map((_, later) => ({
      confidence: at(`confidence${j + 1 + later}`),
      prediction: at(`prediction${j + 1 + later}`),
    }));
    const list = (answers: readonly Answer[]) =>
      answers.flatMap(({ confidence, prediction }) => [confidence, prediction]);
    const values = (answers: readonly Answer[], length?: number) =>
      answers.flatMap(({ confidence, prediction }) => [
        vector(confidence, FLOAT, length),
        vector(prediction, INT64, length),
      ]);
    const nothing = inner.answers.map(() => ({ confidence: at("none"), prediction: at("none") }));
    const otherwise = onnx.create(onnx.GraphProtoSchema, {
      name: at("nothing"),
      node: nothing.flatMap(({ confidence, prediction }) => [empty(confidence, FLOAT), empty(prediction, INT64)]),
      output: values(nothing, 0),
    });
    nodes.push(
      onnx.create(onnx.NodeProtoSchema, {
        name: at("If"),
        opType: "If",
        input: [any],
        output: list(outer),
        attribute: [
          branch("then_branch", onnx.changed(inner.graph, { output: values(inner.answers) })),
          branch("else_branch", otherwise),
        ],
      }),
    );
    const where = onnx.create(onnx.TensorProtoSchema, { name: index, dataType: INT64, int64Data: [BigInt(j)] });
    const asVector = { name: flat, dataType: INT64, dims: [1n], int64Data: [-1n] };
    return {
      graph: onnx.changed(stage, {
        node: [...stage.node, ...nodes],
        initializer: [...stage.initializer, where, onnx.create(onnx.TensorProtoSchema, asVector)],
        valueInfo: [...stage.valueInfo, ...valueInfo],
      }),
      answers: [here, ...outer],
    };
  }
}

function int(name: string, value: number) {
  return onnx.create(onnx.AttributeProtoSchema, { name, type: onnx.AttributeType.INT, i: BigInt(value) });
}

function branch(name: string, g: onnx.GraphProto) {
  return onnx.create(onnx.AttributeProtoSchema, { name, type: onnx.AttributeType.GRAPH, g });
}

/** A Constant node with no elements. */
function empty(name: string, dataType: number): onnx.NodeProto {
  const t = onnx.create(onnx.TensorProtoSchema, { dataType, dims: [0n] });
  const attribute = [onnx.create(onnx.AttributeProtoSchema, { name: "value", type: onnx.AttributeType.TENSOR, t })];
  return onnx.create(onnx.NodeProtoSchema, { name, opType: "Constant", output: [name], attribute });
}

function vector(name: string, elemType: number, length: number | undefined): onnx.ValueInfoProto {
  return info(name, elemType, [length]);
}

/** Name, dtype and shape of a tensor; a dimension is a size, the name of one, or not known. */
function info(name: string, elemType: number, shape: readonly (number | string | undefined)[]): onnx.ValueInfoProto {
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
