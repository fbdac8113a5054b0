import { create } from "@bufbuild/protobuf";
import { z } from "zod";
import { InputError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { ModelProtoSchema } from "../onnx/onnx_pb.ts";
import { parseOptions } from "../options.ts";
import type { Tensor } from "../tensor.ts";
import { printShape } from "./dimensions.ts";
import { type OnnxGraph, onnxGraph, valueInfo } from "./onnx-graph.ts";
import { printSpec, type Spec } from "./spec.ts";
import { type Program, requireProgram } from "./trace.ts";
import { flattenTree, type Tree } from "./tree.ts";

const caller = "core-gpu.programToModel";

/** Options of {@link programToModel}. */
export interface ProgramToModelOptions {
  /**
   * Version of the standard operator set, 7 to 26. Default 17. Below 11 some operators have no form yet; they are named.
   */
  readonly opset?: number;
  /** Tensors for some of the program's inputs, which become initializers of their names instead of graph inputs. */
  readonly constants?: { readonly [name: string]: Tree<Tensor> };
  /** Name of the graph. Default `program`. */
  readonly name?: string;
  /**
   * For ONNX Runtime on a CPU whose convolutions keep channels in blocks of so many: uses them and what else only that
   * runtime has. A wrong number gives wrong results; `device.compile` finds out the right one. Default: standard operators.
   */
  readonly blocks?: 8 | 16;
  /**
   * The provider of ONNX Runtime the model is to run on: `"webgpu"` writes around what that one lacks or gets wrong, with
   * standard operators still (docs/gpu.md). `device.compile` and `compileProgram` know it. Default: any.
   */
  readonly provider?: "webgpu";
}

const optionsSchema = z.strictObject({
  opset: z.int().min(7).max(26).default(17),
  constants: z.custom<object>((value) => typeof value === "object" && value !== null).default({}),
  name: z.string().min(1).default("program"),
  blocks: z.union([z.literal(8), z.literal(16)]).optional(),
  provider: z.literal("webgpu").optional(),
});

/** The version of the file format that came with each operator set, 7 to 26. */
const irVersions = [3, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13] as const;

/**
 * Writes a program as an ONNX model of standard operators that any ONNX runtime can run.
 *
 * Inputs and outputs keep their names and symbolic dimensions; results of operators are called by the operator and the
 * node's number, `relu_7`.
 *
 * @throws InputError where an option is unknown or out of range, a constant is no input of the program or has another
 * dtype or shape than that input, or an output has the name of an input.
 * @example
 * ```ts
 * import { ops, programToModel, spec, tensor, trace } from "@exitkit/core-gpu";
 * const program = trace(({ x, weight }) => ({ y: ops.relu(ops.matmul(x, weight)) }), {
 *   x: spec("float32", ["n", 2]),
 *   weight: spec("float32", [2, 1]),
 * });
 * const model = programToModel(program, { constants: { weight: tensor("float32", [2, 1], [1, -1]) } });
 * console.assert(model.proto.graph?.input.length === 1);
 * ```
 */
export function programToModel(program: Program<unknown, unknown>, options?: ProgramToModelOptions): Model {
  const { opset, constants, name, ...runtime } = parseOptions(caller, optionsSchema, options);
  requireProgram(caller, program);
  const bound = bindConstants(program, constants);
  const inputNames = new Set(program.inputs.map((port) => port.name));
  for (const output of program.outputs) {
    if (inputNames.has(output.name)) {
      throw new InputError(
        caller,
        "an output may not have the name of an input",
        `"${output.name}" for both`,
        "Return it under another name.",
      );
    }
  }
  const graph = onnxGraph(opset, [...inputNames, ...program.outputs.map((port) => port.name)], runtime);
  emitProgram(graph, program, bound);
  if (opset < 11) checkOldForms(graph.nodes, opset);
  const proto = create(ModelProtoSchema, {
    irVersion: BigInt(irVersions[opset - 7]!),
    producerName: "exitkit",
    opsetImport: [{ domain: "", version: BigInt(opset) }, ...graph.imports],
    graph: {
      name,
      node: [...graph.nodes],
      initializer: [...graph.initializers],
      input: program.inputs.filter((port) => !bound.has(port.name)).map((port) => valueInfo(port.name, port.spec)),
      output: program.outputs.map((port) => valueInfo(port.name, port.spec)),
    },
  });
  return { proto };
}

function bindConstants(program: Program<unknown, unknown>, constants: object): ReadonlyMap<string, Tensor> {
  const specs = new Map(program.inputs.map((port) => [port.name, port.spec]));
  const bound = new Map<string, Tensor>();
  for (const { name, leaf } of flattenTree<object, Tensor>(caller, constants)) {
    const expected = specs.get(name);
    if (expected === undefined) {
      throw new InputError(
        caller,
        "constants must be inputs of the program",
        `"${name}"`,
        `Inputs: ${[...specs.keys()].join(", ")}.`,
      );
    }
    checkConstant(name, leaf, expected);
    bound.set(name, leaf);
  }
  return bound;
}

function checkConstant(name: string, leaf: Tensor, expected: Spec): void {
  const fits =
    leaf.dtype === expected.dtype &&
    leaf.shape.length === expected.shape.length &&
    expected.shape.every((dimension, axis) => typeof dimension === "string" || dimension === leaf.shape[axis]);
  if (!fits || !ArrayBuffer.isView(leaf.data)) {
    throw new InputError(
      caller,
      `constant "${name}" must be a tensor ${printSpec(expected)}`,
      `${leaf.dtype} ${printShape(leaf.shape)}`,
    );
  }
}

function emitProgram(graph: OnnxGraph, program: Program<unknown, unknown>, bound: ReadonlyMap<string, Tensor>): void {
  const names: string[] = [];
  const name = (value: number, tensorName: string): string => {
    names[value] = tensorName;
    return tensorName;
  };
  for (const port of program.inputs) {
    const value = bound.get(port.name);
    if (value !== undefined) graph.constant(value, port.name);
    graph.declare({ name: name(port.value, port.name), spec: port.spec });
  }
  for (const { value, tensor } of program.constants) name(value, graph.constant(tensor));
  // A result that is an output is written under the output's name; a second name for it needs an Identity.
  const outputNames = new Map([...program.outputs].reverse().map((port) => [port.value, port.name]));
  program.nodes.forEach((node, index) => {
    const outputs = node.outputs.map((value) =>
      name(value, outputNames.get(value) ?? graph.fresh(`${node.operator.name}_${index}`)),
    );
    node.operator.emit({
      graph,
      attributes: node.attributes,
      inputs: node.inputs.map((value) => names[value]!),
      outputs,
      inputSpecs: node.inputs.map((value) => program.values[value]!),
      outputSpecs: node.outputs.map((value) => program.values[value]!),
    });
    node.outputs.forEach((value, result) => {
      graph.declare({ name: outputs[result]!, spec: program.values[value]! });
    });
  });
  for (const port of program.outputs) {
    const written = names[port.value]!;
    if (written !== port.name) graph.node("Identity", [written], {}, [port.name]);
  }
}

/** Operators whose form of operator set 11, which is written for older sets too, is younger than set 7: the first with it. */
const firstSets: Readonly<Record<string, number>> = {
  ...{ Expand: 8, Max: 8, Min: 8, MaxPool: 8, Erf: 9, Greater: 9, Less: 9, OneHot: 9, Sign: 9, Where: 9 },
  ...{ ConstantOfShape: 9, Cast: 9, Flatten: 9, BatchNormalization: 9, Compress: 9, Mod: 10, Slice: 10 },
  ...{ Clip: 11, CumSum: 11, Equal: 11, GatherElements: 11, GatherND: 11, Pad: 11, Range: 11, Resize: 11, Round: 11 },
  ...{ ScatterElements: 11, ScatterND: 11, TopK: 11 },
};

/** Refuses, by name, what an operator set below 11 does not have. */
function checkOldForms(nodes: OnnxGraph["nodes"], opset: number): void {
  for (const { opType, attribute, domain } of nodes) {
    const counted = attribute.some(
      ({ name, i, ints }) => /^ax[ei]s$/.test(name) && (i < 0n || ints.some((n) => n < 0n)),
    );
    const first = domain !== "" ? 0 : Math.max(firstSets[opType] ?? 1, counted ? 11 : 0);
    if (first <= opset) continue;
    const fix = `Raise the model's operator set to ${first} or above (onnx.version_converter), or export it again.`;
    throw new InputError(caller, `operator set ${opset} must have all operators`, `${opType}, of set ${first}`, fix);
  }
}
