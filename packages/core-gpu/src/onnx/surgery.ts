/** What a package needs that rewrites ONNX graphs itself: messages and how to copy them. Exported as `onnx`. */
export { create } from "@bufbuild/protobuf";
export type { Readable } from "../inspect/readable.ts";
export { readable } from "../inspect/readable.ts";
export type { RowsTrial } from "../inspect/rows.ts";
export { checkKnownRows, checkRows, tryRows } from "../inspect/rows.ts";
export type { LogitsModel } from "../inspect/scores.ts";
export { scoresShown, takeLogits } from "../inspect/scores.ts";
export { constantTensor, hostTensor } from "../program/import/weights.ts";
export { tensorProto } from "../program/onnx-graph.ts";
export { copyGraph } from "./attach.ts";
export { dataTypeOf } from "./dtypes.ts";
export { changed } from "./graph.ts";
export { opsetOf } from "./model.ts";
export { quoted, suggestion, uniqueName } from "./names.ts";
export type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "./onnx_pb.ts";
export {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from "./onnx_pb.ts";
