import { create } from "@bufbuild/protobuf";
import { z } from "zod";
import { InputError } from "../errors.ts";
import { changed, indexModel, isStandard, tensorNames } from "../onnx/graph.ts";
import { type Model, writeModel } from "../onnx/model.ts";
import { quoted, suggestion, uniqueName } from "../onnx/names.ts";
import type { NodeProto, TensorProto } from "../onnx/onnx_pb.ts";
import { OperatorSetIdProtoSchema, TensorProto_DataType } from "../onnx/onnx_pb.ts";
import { subgraphs } from "../onnx/reads.ts";
import { parseOptions } from "../options.ts";
import { hostTensor } from "../program/import/weights.ts";
import { floatOf, floats, intOf, node as makeNode, titleOf, uint8s } from "./graph-parts.ts";
import { roundEven } from "./rounding.ts";

const caller = "core-gpu.quantiseMatrices";

/** Options of {@link quantiseMatrices}. */
export interface QuantiseMatricesOptions {
  /** Bits of a weight. Default 4. */
  readonly bits?: 4 | 8;
  /** Weights of a column that share a scale: a power of two, 16 to 256. Default 32. */
  readonly block?: number;
  /**
   * What the runtime may round activations to inside the product: `int8` (default; fast) or `float32` (exact; slower than the float
   * network with 8 bits).
   */
  readonly activations?: "int8" | "float32";
  /** Nodes to leave in float, by name or first output. Default none. */
  readonly keepFloat?: readonly string[];
}

/** What became of a matrix product. */
export interface MatrixReport {
  /** The node's name, or its first output where it has none. */
  readonly node: string;
  readonly op: string;
  readonly bits: 4 | 8 | 32;
  /** Why it stayed in float, where it did. */
  readonly reason?: string;
  /** ‖rounded − weights‖ ÷ ‖weights‖. */
  readonly error?: number;
}

/** A network with rounded matrices. Plain data but for the model. */
export interface QuantisedMatrices {
  readonly model: Model;
  readonly matrices: readonly MatrixReport[];
  /** Bytes of the model file before and after. */
  readonly bytes: { readonly before: number; readonly after: number };
}

const optionsSchema = z.strictObject({
  bits: z.union([z.literal(4), z.literal(8)]).default(4),
  block: z
    .int()
    .min(16)
    .max(256)
    .refine((block) => Number.isInteger(Math.log2(block)), "must be a power of two")
    .default(32),
  activations: z.enum(["int8", "float32"]).default("int8"),
  keepFloat: z.array(z.string()).readonly().default([]),
});

/**
 * Rounds the weight matrices of MatMul and Gemm nodes to 4 or 8 bits, a scale for each block of a column, and leaves activations
 * float32: for language models, whose time for a token goes into reading matrices. No data are needed.
 *
 * A block's scale is its number of largest magnitude, sign and all, ÷ −2^(bits − 1), so that this number is exact; weight ≈
 * (code − 2^(bits − 1)) · scale. Written as `MatMulNBits` of com.microsoft, which ONNX Runtime has; other runtimes may not.
 *
 * @returns The model and a line for every matrix product.
 * @throws InputError on weights that are not finite, unknown options or names, or nothing to round (also a model that is rounded already).
 * @example
 * ```ts
 * import { programToModel, ops, quantiseMatrices, spec, tensor, trace } from "@exitkit/core-gpu";
 * const weight = tensor("float32", [64, 32], Array.from({ length: 2048 }, (_, i) => Math.sin(i)));
 * const program = trace(({ x }) => ({ y: ops.matmul(x, weight) }), { x: spec("float32", ["n", 64]) });
 * const { model, matrices, bytes } = quantiseMatrices(programToModel(program), { bits: 8 });
 * console.assert(model.proto.graph!.node[0]!.opType === "MatMulNBits" && matrices[0]!.error! < 0.01);
 * console.assert(bytes.after < bytes.before / 2);
 * ```
 * Source: blocks and scales as onnxruntime's `MatMulNBitsQuantizer`, symmetric [S]; its golden values.
 */
export function quantiseMatrices(model: Model, options: QuantiseMatricesOptions = {}): QuantisedMatrices {
  const { bits, block, activations, keepFloat } = parseOptions(caller, optionsSchema, options);
  const index = indexModel(caller, model);
  const { graph } = index;
  const known = new Set(graph.node.flatMap(({ name, output }) => [name, output[0] ?? ""]));
  for (const name of keepFloat) {
    if (name === "" || !known.has(name)) {
      throw new InputError(caller, "keepFloat must name nodes of the model", quoted(name), suggestion(name, known));
    }
  }
  const values = new Map(graph.initializer.map((weight) => [weight.name, weight]));
  const isFloat = (name: string | undefined) => values.get(name ?? "")?.dataType === TensorProto_DataType.FLOAT;
  const taken = tensorNames(index);
  const fresh = (name: string) => uniqueName(name, taken);
  const initializer: TensorProto[] = [];
  const matrices: MatrixReport[] = [];
  const stored = new Map<string, { codes: string; scales: string; error: number }>();

  const refusal = (node: NodeProto): string | undefined => {
    if (keepFloat.includes(node.name) || keepFloat.includes(node.output[0]!)) return "asked for";
    if (!isFloat(node.input[1])) return "its weights are not constant float32";
    if (values.get(node.input[1]!)!.dims.length !== 2) return "its weights are no matrix";
    if (node.opType === "MatMul") return undefined;
    const plain = floatOf(node, "alpha", 1) === 1 && floatOf(node, "beta", 1) === 1 && intOf(node, "transA", 0) === 0;
    return plain ? undefined : "it scales or transposes its input";
  };
  const node = graph.node.flatMap((entry): NodeProto[] => {
    if (!isStandard(entry) || (entry.opType !== "MatMul" && entry.opType !== "Gemm")) return [entry];
    const about = { node: titleOf(entry), op: entry.opType };
    const reason = refusal(entry);
    if (reason !== undefined) {
      matrices.push({ ...about, bits: 32, reason });
      return [entry];
    }
    const name = entry.input[1]!;
    const { dims } = values.get(name)!;
    const transposed = entry.opType === "Gemm" && intOf(entry, "transB", 0) !== 0;
    const [depth, columns] = (transposed ? [dims[1]!, dims[0]!] : [dims[0]!, dims[1]!]).map(Number) as [number, number];
    const key = `${name}:${transposed}`;
    let made = stored.get(key);
    if (made === undefined) {
      const data = hostTensor(caller, values.get(name)!).data as Float32Array;
      const strange = data.find((value) => !Number.isFinite(value));
      if (strange !== undefined) {
        throw new InputError(
          caller,
          "weights must be finite",
          `${strange} in ${quoted(name)} of node ${quoted(about.node)}`,
        );
      }
      const at = transposed
        ? (k: number, n: number) => data[n * depth + k]!
        : (k: number, n: number) => data[k * columns + n]!;
      const { codes, scales, error } = roundBlocks(at, depth, columns, bits, block);
      made = { codes: fresh(`${name}/codes`), scales: fresh(`${name}/scales`), error };
      stored.set(key, made);
      const blocks = Math.ceil(depth / block);
      initializer.push(
        uint8s(made.codes, [columns, blocks, (block * bits) / 8], codes),
        floats(made.scales, [columns * blocks], scales),
      );
    }
    matrices.push({ ...about, bits, error: made.error });
    const output = entry.output[0]!;
    const bias = entry.opType === "Gemm" ? (entry.input[2] ?? "") : "";
    const product = bias === "" ? output : fresh(`${output}/product`);
    const attributes = {
      K: depth,
      N: columns,
      bits,
      block_size: block,
      accuracy_level: activations === "int8" ? 4 : 1,
    };
    const inputs = [entry.input[0]!, made.codes, made.scales];
    const rounded = makeNode("MatMulNBits", inputs, product, attributes, "com.microsoft");
    return bias === "" ? [rounded] : [rounded, makeNode("Add", [product, bias], output)];
  });
  if (stored.size === 0) {
    const actual = matrices.map((each) => `${quoted(each.node)}: ${each.reason}`).join("; ");
    const expectation = "the model must have a MatMul or Gemm with a constant float32 matrix";
    throw new InputError(caller, expectation, actual === "" ? "none" : actual);
  }
  const read = new Set([...node.flatMap(readsOf), ...index.outputs]);
  const stays = ({ name }: { readonly name: string }) => !index.consumers.has(name) || read.has(name);
  const dropped = new Set(graph.initializer.filter((weight) => !stays(weight)).map(({ name }) => name));
  const imports = model.proto.opsetImport;
  const opsetImport = imports.some(({ domain }) => domain === "com.microsoft")
    ? imports
    : [...imports, create(OperatorSetIdProtoSchema, { domain: "com.microsoft", version: 1n })];
  const written = changed(graph, {
    node,
    initializer: [...graph.initializer.filter(stays), ...initializer],
    input: graph.input.filter(({ name }) => !dropped.has(name)),
  });
  const result: Model = { proto: changed(model.proto, { graph: written, opsetImport }) };
  const bytes = { before: writeModel(model).byteLength, after: writeModel(result).byteLength };
  return { model: result, matrices, bytes };
}

function readsOf(node: NodeProto): string[] {
  return [...node.input, ...subgraphs(node).flatMap((body) => body.node.flatMap(readsOf))];
}

/** Codes [columns, blocks, bytes] and scales [columns · blocks] of a matrix [depth, columns]. */
function roundBlocks(at: (k: number, n: number) => number, depth: number, columns: number, bits: 4 | 8, block: number) {
  const blocks = Math.ceil(depth / block);
  const half = 2 ** (bits - 1);
  const width = (block * bits) / 8;
  const codes = new Uint8Array(columns * blocks * width);
  const scales = new Float32Array(columns * blocks);
  let [difference, size] = [0, 0];
  for (let n = 0; n < columns; n++) {
    for (let b = 0; b < blocks; b++) {
      const [from, to] = [b * block, Math.min(depth, (b + 1) * block)];
      let [min, max] = [0, 0];
      for (let k = from; k < to; k++) {
        min = Math.min(min, at(k, n));
        max = Math.max(max, at(k, n));
      }
      const scale = Math.fround((max > -min ? max : min) / -half);
      const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
      scales[n * blocks + b] = scale;
      for (let k = from; k < to; k++) {
        const value = at(k, n);
        const code = Math.max(0, Math.min(2 * half - 1, roundEven(Math.fround(value * inverse)) + half));
        const place = (n * blocks + b) * width + (bits === 8 ? k - from : (k - from) >> 1);
        codes[place] = bits === 8 ? code : codes[place]! | (code << (4 * ((k - from) & 1)));
        difference += ((code - half) * scale - value) ** 2;
        size += value ** 2;
      }
    }
  }
  return { codes, scales, error: size === 0 ? 0 : Math.sqrt(difference / size) };
}
