import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../arguments.ts";
import { isTensorType } from "../onnx/dtypes.ts";
import type { GraphIndex } from "../onnx/graph.ts";
import { ancestors, changed, indexModel, isStandard, tensorNames } from "../onnx/graph.ts";
import { describeModel, type Model } from "../onnx/model.ts";
import { uniqueName } from "../onnx/names.ts";
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
} from "../onnx/onnx_pb.ts";
import { valueInfo } from "../program/onnx-graph.ts";

/**
 * What the numbers of an output are: `logits` (any numbers, the larger the likelier), `logProbabilities`, `probabilities`,
 * one probability behind a sigmoid (`sigmoid`, of the second of two classes), or one behind each class (`sigmoids`).
 */
export type ScoreKind = "logits" | "logProbabilities" | "probabilities" | "sigmoid" | "sigmoids";

/** What the graph shows of an output's scores. */
export interface ShownScores {
  readonly kind: ScoreKind;
  /** The node that makes them what they are; null for logits, and where the values alone show it. */
  readonly node: { readonly operator: string; readonly name: string } | null;
  /** The tensor that the node makes them from: the logits; null where there is none. */
  readonly logits: string | null;
}

/** Operators that change no number and keep rows apart: behind them scores are what they were. */
const passing = new Set(["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Dropout"]);

/** `shownScores` of a model's output, [n, 1] where it is one number. */
export function scoresShown(model: Model, output: string): ShownScores {
  const index = indexModel("core-gpu.scoresShown", model);
  const stated = describeModel(model).outputs.find(({ name }) => name === output);
  const one = stated?.shape.length === 2 && stated.shape[1] === 1;
  return shownScores(index, output, one ? 1 : undefined);
}

/** Looks from an output back to what makes its scores. */
export function shownScores(index: GraphIndex, output: string, classes: number | undefined): ShownScores {
  const { node } = walk(index, output);
  if (node !== undefined && isStandard(node)) {
    const name = node.name || node.output[0] || "";
    const shown = (kind: ScoreKind): ShownScores => ({
      kind,
      node: { operator: node.opType, name },
      logits: node.input[0] ?? null,
    });
    if (node.opType === "Softmax") return shown("probabilities");
    if (node.opType === "LogSoftmax") return shown("logProbabilities");
    if (node.opType === "Sigmoid") return shown(classes === 1 ? "sigmoid" : "sigmoids");
  }
  return { kind: "logits", node: null, logits: null };
}

/** The first node behind an output that changes its numbers, and those on the way, from the output on. */
function walk({ graph, producer }: GraphIndex, output: string): { node: NodeProto | undefined; way: NodeProto[] } {
  const way: NodeProto[] = [];
  for (let name = output; ; ) {
    const node = graph.node[producer.get(name) ?? -1];
    if (node === undefined || !isStandard(node) || !passing.has(node.opType) || node.output[0] !== name)
      return { node, way };
    way.push(node);
    name = node.input[0]!;
  }
}

/** What values tell of rows of k scores that the graph says nothing of; rows of one number tell nothing. */
export function scoresByValues(data: ArrayLike<number>, classes: number): ScoreKind {
  const rows = Math.floor(data.length / classes);
  if (rows === 0 || classes < 2) return "logits";
  const every = (test: (row: number[]) => boolean): boolean =>
    Array.from({ length: rows }, (_, row) => row).every((row) =>
      test(Array.from({ length: classes }, (_, at) => data[row * classes + at]!)),
    );
  const sumsToOne = (row: readonly number[]) => Math.abs(row.reduce((sum, value) => sum + value, 0) - 1) < 1e-3;
  if (every((row) => row.every((value) => value >= 0) && sumsToOne(row))) return "probabilities";
  if (every((row) => row.every((value) => value <= 0) && sumsToOne(row.map(Math.exp)))) return "logProbabilities";
  return "logits";
}

/** A model that gives logits, and the name of that output. */
export interface LogitsModel {
  readonly model: Model;
  readonly output: string;
  /** k: how many logits a row has. */
  readonly classes: number;
}

/**
 * Makes a model of one output that gives logits, in place of what it gave. In front of a Softmax or of a sigmoid for each
 * class they are there; of one sigmoid of z they are [0, z]; of probabilities without a node to be seen their logarithms,
 * which is the same but for a constant. The new output is called `output/logits`; one that gives logits (or
 * log-probabilities, which do as well) is left as it is.
 *
 * @param width The output's second dimension.
 */
export function takeLogits(model: Model, output: string, scores: ShownScores, width: number): LogitsModel {
  checkArguments("core-gpu.onnx.takeLogits", {
    model: [model, "a model"],
    output: [output, "a string"],
    scores: [scores, { kind: "a string" }],
    width: [width, "a number"],
  });
  if (scores.kind === "logits" || scores.kind === "logProbabilities") return { model, output, classes: width };
  const index = indexModel("core-gpu.takeLogits", model);
  const { graph } = index;
  const taken = tensorNames(index);
  const fresh = (stem: string) => uniqueName(`${output}/${stem}`, taken);
  const name = fresh("logits");
  const added: NodeProto[] = [];
  const make = (opType: string, input: readonly string[], result: string, axis?: number): string => {
    const attribute =
      axis === undefined
        ? []
        : [create(AttributeProtoSchema, { name: "axis", type: AttributeType.INT, i: BigInt(axis) })];
    added.push(create(NodeProtoSchema, { opType, name: result, input: [...input], output: [result], attribute }));
    return result;
  };
  const initializers = [];
  if (scores.logits === null) {
    // The smallest normal number: its logarithm is one.
    const least = fresh("least");
    initializers.push(
      create(TensorProtoSchema, { name: least, dataType: TensorProto_DataType.FLOAT, floatData: [2 ** -126] }),
    );
    make("Log", [make("Max", [output, least], fresh("positive"))], name);
  } else {
    const behind = [...walk(index, output).way].reverse();
    const end = scores.kind === "sigmoid" ? fresh("one") : name;
    let at = scores.logits;
    for (const [place, node] of behind.entries()) {
      const result = place === behind.length - 1 ? end : fresh("way");
      added.push(changed(node, { name: result, input: [at, ...node.input.slice(1)], output: [result] }));
      at = result;
    }
    if (behind.length === 0) at = scores.kind === "sigmoid" ? at : make("Identity", [at], name);
    if (scores.kind === "sigmoid") make("Concat", [make("Sub", [at, at], fresh("zero")), at], name, 1);
  }
  const classes = scores.kind === "sigmoid" ? 2 : width;
  const needed = new Set(
    ancestors(
      { ...index, graph },
      added.flatMap(({ input }) => input),
    ),
  );
  const stated = new Set(graph.valueInfo.map(({ name: known }) => known));
  const proto = changed(model.proto, {
    graph: changed(graph, {
      node: [...graph.node.filter((_, at) => needed.has(at)), ...added],
      initializer: [...graph.initializer, ...initializers],
      output: [
        scores.kind === "sigmoid"
          ? logitsInfo(graph.input[0], name, classes)
          : changed(graph.output.find((value) => value.name === output)!, { name }),
      ],
      valueInfo: [...graph.valueInfo, ...graph.output.filter((value) => !stated.has(value.name))],
    }),
  });
  return { model: { proto }, output: name, classes };
}

/** float32 [n, k], n being what the model's input calls it. */
function logitsInfo(input: ValueInfoProto | undefined, name: string, classes: number): ValueInfoProto {
  const type = input?.type;
  const batch = isTensorType(type) ? type.value.value.shape?.dim[0]?.value : undefined;
  const n = batch?.case === "dimValue" ? Number(batch.value) : batch?.value || "n";
  return valueInfo(name, { dtype: "float32", shape: [n, classes] });
}
