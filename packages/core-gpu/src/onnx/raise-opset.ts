import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { tensorProto } from "../program/onnx-graph.ts";
import { tensor } from "../tensor.ts";
import { innerNames } from "./attach.ts";
import { attributeOf, changed, indexModel, isStandard, tensorNames } from "./graph.ts";
import { type Model, opsetOf } from "./model.ts";
import { list, quoted, uniqueName } from "./names.ts";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type NodeProto,
} from "./onnx_pb.ts";
import { subgraphs } from "./reads.ts";

/** What crossing `at` means for a node: another form of it, or why it cannot be. */
interface Change {
  /** The operator set that changed it. */
  readonly at: number;
  readonly made: (node: NodeProto, constant: (values: readonly number[]) => string) => NodeProto | string;
}

const LEAST = 13;
const MOST = 23;

const without = (node: NodeProto, name: string) => node.attribute.filter((attribute) => attribute.name !== name);

/** `axes` became an input. */
const axesInput: Change = {
  at: 18,
  made: (node, constant) => {
    const axes = attributeOf(node, "axes");
    if (axes === undefined) return node;
    return changed(node, {
      input: [node.input[0]!, constant(axes.ints.map(Number))],
      attribute: without(node, "axes"),
    });
  },
};

/** Into equal parts, unless told otherwise, became a number of parts that must be said. */
const partsSaid: Change = {
  at: 18,
  made: (node) => {
    if ((node.input[1] ?? "") !== "") return node;
    const parts: AttributeProto = create(AttributeProtoSchema, {
      name: "num_outputs",
      type: AttributeProto_AttributeType.INT,
      i: BigInt(node.output.length),
    });
    return changed(node, { attribute: [...node.attribute, parts] });
  },
};

const refused = (at: number, why: string, holds: (node: NodeProto) => boolean = () => true): Change => ({
  at,
  made: (node) => (holds(node) ? why : node),
});

/** Operators that mean something else from some set on, or are written in another way. What is not here only took more types or options. */
const CHANGES: Readonly<Record<string, Change>> = {
  ...Object.fromEntries(
    ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"].map((name) => [
      `Reduce${name}`,
      axesInput,
    ]),
  ),
  Split: partsSaid,
  BatchNormalization: refused(14, "answers its statistics otherwise", ({ output }) => output.length > 1),
  RoiAlign: refused(
    16,
    "takes other coordinates where none are named",
    (node) => attributeOf(node, "coordinate_transformation_mode") === undefined,
  ),
  AveragePool: refused(19, "counts rounded-up windows otherwise", (node) => attributeOf(node, "ceil_mode")?.i === 1n),
  DFT: refused(20, "takes its axis as an input"),
  GridSample: refused(20, "names its modes otherwise"),
  GroupNormalization: refused(21, "scales channels instead of groups"),
};

/**
 * The model for a later version of the standard operator set: the same answers, but for how a runtime fuses it. Parts of one graph must use one version
 * (see {@link attachModel}), and exporters write 13 to 21.
 *
 * Most operators only took more types or options; reductions get their axes as an input, `Split` its number of parts. What means something
 * else in the later version is refused by name.
 *
 * @param opset 13 to 23, not below the model's own; its own gives the model itself.
 * @throws InputError on a version out of range or below the model's, a model below 13, one with functions of its own, or a node that
 * the later version reads otherwise.
 * @example
 * ```ts
 * import { describeModel, raiseOpset, readModelFile } from "@exitkit/core-gpu";
 * const raised = raiseOpset(await readModelFile("network.onnx"), 21);
 * console.assert(describeModel(raised).opset === 21);
 * ```
 */
export function raiseOpset(model: Model, opset: number): Model {
  const caller = "core-gpu.raiseOpset";
  const { graph } = indexModel(caller, model);
  checkArguments(caller, { opset: [opset, "a number"] });
  const own = opsetOf(model);
  if (opset === own) return model;
  if (!(Number.isInteger(opset) && opset >= LEAST && opset <= MOST && own >= LEAST && own < opset)) {
    const actual = `${own} to ${opset}`;
    throw new InputError(caller, `operator sets are raised, from and to ${LEAST} … ${MOST}`, actual, "Export it anew.");
  }
  if (model.proto.functions.length > 0) {
    const names = list(model.proto.functions.map(({ name }) => name));
    throw new InputError(caller, "the model must have no functions of its own", names, "Export it without.");
  }
  const taken = tensorNames(indexModel(caller, model));
  for (const node of graph.node) for (const body of subgraphs(node)) innerNames(body, taken);
  const raised = raise(caller, graph, own, opset, taken);
  const opsetImport = model.proto.opsetImport.map((each) =>
    each.domain === "" || each.domain === "ai.onnx" ? changed(each, { version: BigInt(opset) }) : each,
  );
  return { proto: changed(model.proto, { graph: raised, opsetImport }) };
}

function raise(caller: string, graph: GraphProto, own: number, opset: number, taken: Set<string>): GraphProto {
  const added = new Map<string, { readonly name: string; readonly values: readonly number[] }>();
  const constant = (values: readonly number[]) => {
    const key = values.join();
    const known = added.get(key);
    if (known !== undefined) return known.name;
    const name = uniqueName("axes", taken);
    added.set(key, { name, values });
    return name;
  };
  const node = graph.node.map((each) => {
    const inner =
      subgraphs(each).length === 0 ? each : withBodies(each, (body) => raise(caller, body, own, opset, taken));
    const change = isStandard(each) ? CHANGES[each.opType] : undefined;
    if (change === undefined || own >= change.at || opset < change.at) return inner;
    const made = change.made(inner, constant);
    if (typeof made !== "string") return made;
    const expectation = `nodes must mean the same in operator set ${opset} as in ${own}`;
    const actual = `${each.opType} ${quoted(each.name)}, which ${made} from ${change.at} on`;
    throw new InputError(caller, expectation, actual, "Export the model anew.");
  });
  const initializer = [...added.values()].map(({ name, values }) =>
    tensorProto(name, tensor("int64", [values.length], values)),
  );
  return changed(graph, { node, initializer: [...graph.initializer, ...initializer] });
}

function withBodies(node: NodeProto, of: (body: GraphProto) => GraphProto): NodeProto {
  const attribute = node.attribute.map((each) => {
    if (each.g === undefined && each.graphs.length === 0) return each;
    return changed(each, { ...(each.g === undefined ? {} : { g: of(each.g) }), graphs: each.graphs.map(of) });
  });
  return changed(node, { attribute });
}
