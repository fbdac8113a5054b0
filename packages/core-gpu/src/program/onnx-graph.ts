import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../arguments.ts";
import { dataTypeOf } from "../onnx/dtypes.ts";
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
  type OperatorSetIdProto,
  OperatorSetIdProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../onnx/onnx_pb.ts";
import { type Tensor, tensor } from "../tensor.ts";
import type { Shape } from "./dimensions.ts";
import { evaluateFormula, type FormulaArithmetic } from "./formula.ts";
import type { Spec } from "./spec.ts";

/** Attributes of an ONNX node. Whole numbers and lists are ints; write floats with {@link float}. */
export type Attributes = Readonly<Record<string, number | readonly number[] | string | Float | undefined>>;

/** A float attribute. */
export interface Float {
  readonly float: number;
}

export function float(value: number): Float {
  return { float: value };
}

/** An ONNX graph under construction, of a fixed opset. */
export interface OnnxGraph {
  readonly opset: number;
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  /** Adds a node that writes `outputs` (one fresh name by default) and gives the first of them. */
  node(
    type: string,
    inputs: readonly string[],
    attributes?: Attributes,
    outputs?: readonly string[],
    domain?: string,
  ): string;
  /**
   * Channels in a block of the layout that ONNX Runtime's own convolutions have on the CPU the model is for; undefined where
   * the model is for any runtime, of standard operators only.
   */
  readonly blocks: number | undefined;
  /** The provider of ONNX Runtime the model is for, where what it lacks or gets wrong has to be written in another way. */
  readonly provider: "webgpu" | undefined;
  /** Adds a node of another model; `imports` are the operator sets there, of which it may use others than the standard. */
  append(node: NodeProto, imports: readonly OperatorSetIdProto[]): void;
  /** Operator sets beside the standard one that nodes use. */
  readonly imports: readonly OperatorSetIdProto[];
  /** Adds an initializer, under a fresh name by default. Equal small int64 lists are stored once. */
  constant(value: Tensor, name?: string): string;
  /** An int64 list as a constant. */
  ints(values: readonly number[]): string;
  /** The shape as an int64 list [rank] in the graph; symbols are read from the tensors of `from`, else from any earlier. */
  shape(shape: Shape, from: readonly Named[]): string;
  /** Tells the graph that a tensor exists: its symbols can from now on be read from it. */
  declare(value: Named): void;
  /** A name not used yet, beginning with `stem`. */
  fresh(stem: string): string;
}

/** A tensor in the graph and what is known of it. */
interface Named {
  readonly name: string;
  readonly spec: Spec;
}

/** Where the size of a symbol can be read. */
interface Origin {
  readonly name: string;
  readonly axis: number;
}

/** An empty graph, for any runtime or for the one said. Names in `reserved` are given to nothing unless asked for. */
export function onnxGraph(
  opset: number,
  reserved: Iterable<string>,
  { blocks, provider }: Partial<Pick<OnnxGraph, "blocks" | "provider">> = {},
): OnnxGraph {
  const taken = new Set(reserved);
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  const imports: OperatorSetIdProto[] = [];
  const lists = new Map<string, string>();
  const origins = new Map<string, Origin>();

  const sizeOf = ({ name, axis }: Origin): string =>
    graph.node("Gather", [graph.node("Shape", [name]), graph.ints([axis])], { axis: 0 });
  // A formula stands in no tensor where only gradients are left of a program; then it is worked out.
  const size = (dimension: string): string => {
    const origin = origins.get(dimension);
    return origin === undefined ? evaluateFormula(dimension, arithmetic) : sizeOf(origin);
  };
  const arithmetic: FormulaArithmetic<string> = {
    symbol(name) {
      const origin = origins.get(name);
      // Shape rules let no symbol through that does not stand in an operand or an input.
      if (origin === undefined) throw new Error(`no tensor in the graph has the dimension "${name}"`);
      return sizeOf(origin);
    },
    number: (value) => graph.ints([value]),
    add: (a, b) => graph.node("Add", [a, b]),
    subtract: (a, b) => graph.node("Sub", [a, b]),
    multiply: (a, b) => graph.node("Mul", [a, b]),
    divide(a, b, rounding) {
      if (rounding === "floor") return graph.node("Div", [graph.node("Sub", [a, graph.node("Mod", [a, b])]), b]);
      const missing = graph.node("Mod", [graph.node("Neg", [a]), b]);
      return graph.node("Div", [graph.node("Add", [a, missing]), b]);
    },
  };

  const graph: OnnxGraph = {
    opset,
    blocks,
    provider,
    nodes,
    initializers,
    imports,
    fresh(stem) {
      let name = stem;
      for (let count = 2; taken.has(name); count++) name = `${stem}_${count}`;
      taken.add(name);
      return name;
    },
    node(type, inputs, attributes = {}, outputs = [graph.fresh(`${inputs[0] ?? "graph"}/${type}`)], domain = "") {
      if (domain !== "" && !imports.some((used) => used.domain === domain)) {
        imports.push(create(OperatorSetIdProtoSchema, { domain, version: 1n }));
      }
      nodes.push(
        create(NodeProtoSchema, {
          name: outputs[0]!,
          opType: type,
          domain,
          input: [...inputs],
          output: [...outputs],
          attribute: Object.entries(attributes).flatMap(([name, value]) =>
            value === undefined ? [] : [attributeProto(name, value)],
          ),
        }),
      );
      return outputs[0]!;
    },
    append(node, others) {
      nodes.push(node);
      const used = others.find(({ domain }) => domain === node.domain);
      if (used !== undefined && !imports.includes(used)) imports.push(used);
    },
    constant(value, name = graph.fresh("constant")) {
      initializers.push(tensorProto(name, value));
      return name;
    },
    ints(values) {
      const key = values.join(",");
      const known = lists.get(key);
      if (known !== undefined) return known;
      const name = graph.constant(tensor("int64", [values.length], values), graph.fresh(`ints_${lists.size}`));
      lists.set(key, name);
      return name;
    },
    shape(shape, from) {
      if (shape.every((dimension) => typeof dimension === "number")) return graph.ints(shape);
      const parts = shape.map((dimension) => {
        if (typeof dimension === "number") return graph.ints([dimension]);
        const local = from.find(({ spec }) => spec.shape.includes(dimension));
        return local === undefined
          ? size(dimension)
          : sizeOf({ name: local.name, axis: local.spec.shape.indexOf(dimension) });
      });
      return parts.length === 1 ? parts[0]! : graph.node("Concat", parts, { axis: 0 });
    },
    declare({ name, spec: { shape } }) {
      shape.forEach((dimension, axis) => {
        if (typeof dimension === "string" && !origins.has(dimension)) origins.set(dimension, { name, axis });
      });
    },
  };
  return graph;
}

/** A tensor as an ONNX message; its bytes are copied. */
export function tensorProto(name: string, value: Tensor): TensorProto {
  checkArguments("core-gpu.onnx.tensorProto", { name: [name, "a string"], value: [value, "a tensor"] });
  const { dtype, shape, data } = value;
  return create(TensorProtoSchema, {
    name,
    dataType: dataTypeOf(dtype),
    dims: shape.map(BigInt),
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(),
  });
}

/** Name, dtype and shape of a graph input or output. */
export function valueInfo(name: string, { dtype, shape }: Spec): ValueInfoProto {
  const dim = shape.map((dimension) =>
    typeof dimension === "number"
      ? { value: { case: "dimValue" as const, value: BigInt(dimension) } }
      : { value: { case: "dimParam" as const, value: dimension } },
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType: dataTypeOf(dtype), shape: { dim } } } },
  });
}

function attributeProto(name: string, value: number | readonly number[] | string | Float): AttributeProto {
  if (typeof value === "string") {
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) });
  }
  if (typeof value === "number")
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) });
  if ("float" in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float });
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) });
}
