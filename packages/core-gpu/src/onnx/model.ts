import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { fileError, writeFileAtomic } from "../files.ts";
import { parseOptions } from "../options.ts";
import { dtypeName, isTensorType, typeName } from "./dtypes.ts";
import { requireModel } from "./graph.ts";
import type { ModelProto, TensorProto, ValueInfoProto } from "./onnx_pb.ts";
import { ModelProtoSchema } from "./onnx_pb.ts";
import { sorted } from "./sort.ts";
import { checkModel } from "./validate.ts";
import { countMessages } from "./wire.ts";

/**
 * An ONNX model in memory: the decoded protobuf message. Treated as immutable everywhere; functions that change a model
 * return a new one that shares the weights with the old.
 */
export interface Model {
  readonly proto: ModelProto;
}

/** Name, element type and shape of a tensor, as an ONNX file states them. */
export interface TensorInfo {
  readonly name: string;
  /**
   * One of our dtypes (`float32`, `float64`, `int32`, `int64`, `uint8`, `bool`), else ONNX's name in lower case
   * (`float16`, `string`, ...), `sequence`, `map`, `optional`, `sparse`, or `undefined` where the file does not say.
   */
  readonly dtype: string;
  /** A number for a fixed dimension, a name for a symbolic one, `null` for one that is not stated. */
  readonly shape: readonly (number | string | null)[];
  /** Present and true when the file does not state even the number of dimensions; `shape` is then empty. */
  readonly unknownRank?: true;
}

/** Inputs, outputs and weights of a model. */
export interface ModelDescription {
  /** What must be fed: graph inputs that have no initializer. */
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly initializers: readonly TensorInfo[];
  /** Version of the standard operator set; 0 if the model imports none. */
  readonly opset: number;
}

/** Options of {@link readModel}. */
export interface ReadModelOptions {
  /** Where the bytes come from, for error messages. Default: not named. */
  readonly source?: string;
  /** Keep weights that lie in other files as references instead of refusing them. Default: `false`. */
  readonly allowExternalData?: boolean;
  /**
   * How many messages (nodes, attributes, dimensions, ...) the file may hold, as each takes hundreds of bytes in memory and
   * two on disk. Default: 10,000 and one for every 12 bytes; exported networks have one for every 18 or more.
   */
  readonly maxMessages?: number;
}

const readOptions = z.strictObject({
  source: z.string().optional(),
  allowExternalData: z.boolean().default(false),
  maxMessages: z.int().min(1).optional(),
});

// A model whose exits are nested Ifs is four messages deep per exit; protobuf's own default of 100 would refuse 25 exits.
const recursionLimit = 1000;

/**
 * Decodes an ONNX model and checks that it hangs together: it has a graph, every tensor is produced once and can be before
 * it is used, nothing dangles, and weights are as long as their shapes say. Nodes out of order are sorted.
 *
 * Weights are views into `bytes` (not copied), so do not change `bytes` afterwards. Whatever this version of the
 * format does not know is kept and written back by {@link writeModel}.
 *
 * @throws InputError when the bytes are not such a model, hold more messages than `maxMessages`, or when weights lie in other files and `allowExternalData` is
 * not set (a model from elsewhere must not make a program read files of its choice).
 * @example
 * ```ts
 * import { readModel } from "@exitkit/core-gpu";
 * try {
 *   readModel(new Uint8Array([1, 2, 3]), { source: "network.onnx" });
 * } catch (error) {
 *   console.assert(String(error).includes("network.onnx"));
 * }
 * ```
 */
export function readModel(bytes: Uint8Array, options: ReadModelOptions = {}): Model {
  const caller = "core-gpu.readModel";
  const { source, ...rest } = parseOptions(caller, readOptions, options);
  if (!(bytes instanceof Uint8Array)) {
    throw new InputError(caller, "bytes must be a Uint8Array", bytes === null ? "null" : typeof bytes);
  }
  return decode(caller, bytes, source, rest);
}

/**
 * Reads and checks an ONNX file; see {@link readModel}.
 *
 * @throws InputError when the file cannot be read or is not a valid model.
 */
export async function readModelFile(path: string, options: Omit<ReadModelOptions, "source"> = {}): Promise<Model> {
  const caller = "core-gpu.readModelFile";
  checkArguments(caller, { path: [path, "a string"] });
  const rest = parseOptions(caller, readOptions.omit({ source: true }), options);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw fileError(caller, "read", path, error);
  }
  return decode(caller, bytes, path, rest);
}

/** Encodes a model as an ONNX file. `readModel(writeModel(model))` equals `model`, unknown fields included. @throws InputError on no model. */
export function writeModel(model: Model): Uint8Array {
  requireModel("core-gpu.writeModel", model);
  return toBinary(ModelProtoSchema, model.proto);
}

/**
 * Writes a model to a file, atomically: after a crash the file is the old one or the new one, never half of one.
 *
 * @throws InputError when the file cannot be written, or `model` is none.
 */
export async function writeModelFile(path: string, model: Model): Promise<void> {
  requireModel("core-gpu.writeModelFile", model);
  checkArguments("core-gpu.writeModelFile", { path: [path, "a string"] });
  await writeFileAtomic(path, writeModel(model));
}

/**
 * SHA-256 of the encoded model, in hexadecimal: equal for equal models. It is the hash of what {@link writeModel}
 * writes, which can differ from the hash of the file the model was read from (fields may be ordered otherwise there).
 */
export function hashModel(model: Model): string {
  return createHash("sha256").update(writeModel(model)).digest("hex");
}

/** Lists a model's inputs (those that must be fed), outputs, initializers and its operator set version. */
export function describeModel(model: Model): ModelDescription {
  requireModel("core-gpu.describeModel", model);
  const graph = model.proto.graph;
  if (graph === undefined) return { inputs: [], outputs: [], initializers: [], opset: 0 };
  const sparse = graph.sparseInitializer.map((tensor) => ({
    name: tensor.values?.name ?? "",
    dtype: dtypeName(tensor.values?.dataType ?? 0),
    shape: tensor.dims.map(Number),
  }));
  const initializers = [...graph.initializer.map(weightInfo), ...sparse];
  const weights = new Set(initializers.map(({ name }) => name));
  return {
    inputs: graph.input.filter(({ name }) => !weights.has(name)).map(tensorInfo),
    outputs: graph.output.map(tensorInfo),
    initializers,
    opset: opsetOf(model),
  };
}

/** Version of the standard operator set that a model imports; 0 if it imports none. */
export function opsetOf(model: Model): number {
  checkArguments("core-gpu.onnx.opsetOf", { model: [model, "a model"] });
  const standard = model.proto.opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx");
  return Number(standard?.version ?? 0n);
}

/** Name, element type and shape of a value as the file states them. */
function tensorInfo(value: ValueInfoProto): TensorInfo {
  const dtype = typeName(value.type);
  const shape = isTensorType(value.type) ? value.type.value.value.shape : undefined;
  if (shape === undefined) return { name: value.name, dtype, shape: [], unknownRank: true };
  return {
    name: value.name,
    dtype,
    shape: shape.dim.map(({ value: size }) => {
      if (size.case === "dimValue") return Number(size.value);
      return size.case === "dimParam" && size.value !== "" ? size.value : null;
    }),
  };
}

function weightInfo(weight: TensorProto): TensorInfo {
  return { name: weight.name, dtype: dtypeName(weight.dataType), shape: weight.dims.map(Number) };
}

function decode(
  caller: string,
  bytes: Uint8Array,
  source: string | undefined,
  {
    allowExternalData,
    maxMessages,
  }: { readonly allowExternalData: boolean; readonly maxMessages?: number | undefined },
): Model {
  const limit = maxMessages ?? 10_000 + Math.floor(bytes.byteLength / 12);
  const expectation = `${source ?? "the model"} must be a complete ONNX file`;
  let proto: ModelProto;
  try {
    // A plain view, so that weights are Uint8Arrays even when the bytes came in a Buffer.
    const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (countMessages(ModelProtoSchema, view, limit, recursionLimit) > limit) {
      const fix = "It may be made to fill the memory. Pass maxMessages if it is a network of yours.";
      const actual = `more than ${limit} messages in ${bytes.byteLength} bytes`;
      throw new InputError(caller, expectation, actual, fix);
    }
    proto = fromBinary(ModelProtoSchema, view, { recursionLimit });
  } catch (error) {
    if (error instanceof InputError) throw error;
    const fix = "It is cut short, damaged or another format; fetch or export it again.";
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(caller, expectation, `${bytes.byteLength} bytes that do not decode (${reason})`, fix, error);
  }
  proto = sorted(proto);
  checkModel(caller, expectation, proto, allowExternalData);
  return { proto };
}
