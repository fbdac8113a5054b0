import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { changed, requireModel } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "../onnx/onnx_pb.ts";
import { type FunctionProto, ModelProtoSchema } from "../onnx/onnx_pb.ts";

/**
 * SHA-256, in hexadecimal, of what a model computes: operator sets, nodes, functions, weights, and the names and types of
 * inputs and outputs. Doc strings, the producer, versions, metadata, names of graphs and nodes and what is said of the shapes
 * between do not count, so that a file that was only annotated is still the same network.
 *
 * @throws InputError where `model` is none.
 */
export function identifyModel(model: Model): string {
  requireModel("core-gpu.identifyModel", model);
  const { graph, functions, opsetImport } = model.proto;
  const imports = opsetImport
    .map((entry) => (entry.domain === "ai.onnx" ? changed(entry, { domain: "" }) : entry))
    .sort((a, b) => (a.domain < b.domain ? -1 : 1));
  const plain = create(ModelProtoSchema, {
    opsetImport: imports,
    functions: functions.map(plainFunction),
    ...(graph === undefined ? {} : { graph: plainGraph(graph) }),
  });
  return createHash("sha256").update(toBinary(ModelProtoSchema, plain)).digest("hex");
}

function plainGraph(graph: GraphProto): GraphProto {
  return changed(graph, {
    name: "",
    docString: "",
    metadataProps: [],
    valueInfo: [],
    node: graph.node.map(plainNode),
    input: graph.input.map(plainValue),
    output: graph.output.map(plainValue),
    initializer: graph.initializer.map(plainTensor),
  });
}

function plainNode(node: NodeProto): NodeProto {
  const attribute = node.attribute.map((entry) =>
    changed(entry, {
      docString: "",
      graphs: entry.graphs.map(plainGraph),
      ...(entry.g === undefined ? {} : { g: plainGraph(entry.g) }),
      ...(entry.t === undefined ? {} : { t: plainTensor(entry.t) }),
    }),
  );
  // Attributes have no order.
  attribute.sort((a, b) => (a.name < b.name ? -1 : 1));
  const domain = node.domain === "ai.onnx" ? "" : node.domain;
  return changed(node, { name: "", docString: "", metadataProps: [], domain, attribute });
}

const plainValue = (value: ValueInfoProto): ValueInfoProto => changed(value, { docString: "", metadataProps: [] });
const plainTensor = (weight: TensorProto): TensorProto => changed(weight, { docString: "", metadataProps: [] });
const plainFunction = (body: FunctionProto): FunctionProto =>
  changed(body, { docString: "", metadataProps: [], valueInfo: [], node: body.node.map(plainNode) });
