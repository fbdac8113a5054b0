import { dtypeName } from "../../onnx/dtypes.ts";
import { quoted } from "../../onnx/names.ts";
import type { AttributeProto, NodeProto } from "../../onnx/onnx_pb.ts";
import type { DType, Tensor } from "../../tensor.ts";
import type { Dimension } from "../dimensions.ts";
import type { Spec } from "../spec.ts";
import { makeValue, type Value } from "../value.ts";
import { type Known, knownTensor, toTensor } from "./known.ts";
import { hostTensor, isHostType } from "./weights.ts";

/** What stands for a tensor of the model while its nodes are applied. */
export interface Entry {
  readonly spec: Spec;
  /** Its elements, where they are known already. */
  readonly known: Known | null;
  /** The tensor as a value of the program; made when first asked for. */
  value(): Value;
}

/** The entry of a value of which nothing more is known. */
export function valueEntry(value: Value): Entry {
  return { spec: value, known: null, value: () => value };
}

/** The entry of data. */
export function tensorEntry(data: Tensor): Entry {
  const value = makeValue(data, { kind: "constant", tensor: data });
  return { spec: value, known: knownTensor(data), value: () => value };
}

/** The entry of known elements; `compute` makes the value where some of them are symbols. */
export function knownEntry(content: Known, compute: () => Value): Entry {
  let value: Value | undefined;
  return {
    spec: content,
    known: content,
    value() {
      if (value === undefined) {
        const data = toTensor(content);
        value = data === null ? compute() : makeValue(data, { kind: "constant", tensor: data });
      }
      return value;
    },
  };
}

/** Thrown where a node's form is none that `ops` has: the node becomes opaque. */
export class Unsupported extends Error {}

/** Says why a node cannot be expressed by `ops`. */
export function unsupported(reason: string): never {
  throw new Unsupported(reason);
}

/** A node of the model with its operands, as the rules of this folder read it. */
export interface ImportNode {
  readonly type: string;
  /** `Conv node "/layer1/conv"` */
  readonly title: string;
  /** The version of the standard operator set that gives the node its meaning. */
  readonly opset: number;
  /** For each output whether something reads it. */
  readonly outputs: readonly boolean[];
  readonly inputCount: number;
  /** Whether batch normalisation and the like are to be applied as in training. */
  readonly training: boolean;
  int(name: string, fallback: number): number;
  float(name: string, fallback: number): number;
  ints(name: string): readonly number[] | undefined;
  text(name: string, fallback: string): string;
  tensor(name: string): Tensor | undefined;
  attribute(name: string): AttributeProto | undefined;
  /** Whether the operand is given. */
  has(index: number): boolean;
  spec(index: number): Spec;
  value(index: number): Value;
  known(index: number): Known | null;
  /** Elements of an operand that must be known, symbols among them. */
  dimensions(index: number): readonly Dimension[];
  /** Elements of an operand that must be known numbers. */
  numbers(index: number): readonly number[];
  /** A value of the program that has the symbol among its dimensions, and where. */
  locate(symbol: Dimension): { readonly value: Value; readonly axis: number };
  /** Names of attributes that no rule has asked for. */
  unread(): readonly string[];
  /** Says that in training the operand, a parameter, is replaced by `next` after the step. */
  update(index: number, next: Value): void;
}

/** What a node needs from around it. */
export interface Surroundings {
  readonly caller: string;
  readonly opset: number;
  readonly training: boolean;
  /** Whether a node or an output of the model reads a tensor. */
  isUsed(name: string): boolean;
  entry(name: string): Entry;
  locate(symbol: Dimension): { readonly value: Value; readonly axis: number } | undefined;
  update(name: string, next: Value): void;
}

/** `Conv node "/layer1/conv"` */
export function titleOf(node: NodeProto): string {
  return `${node.opType} node ${quoted(node.name || node.output[0] || "")}`;
}

/** A node of the model with what it stands in. */
export function readNode(node: NodeProto, around: Surroundings): ImportNode {
  const attributes = new Map(node.attribute.map((entry) => [entry.name, entry]));
  const asked = new Set<string>();
  const attribute = (name: string): AttributeProto | undefined => {
    asked.add(name);
    return attributes.get(name);
  };
  const operand = (index: number): Entry => around.entry(node.input[index]!);
  const has = (index: number) => (node.input[index] ?? "") !== "";
  const self: ImportNode = {
    type: node.opType,
    title: titleOf(node),
    opset: around.opset,
    outputs: node.output.map((name) => around.isUsed(name)),
    inputCount: node.input.length,
    training: around.training,
    int: (name, fallback) => Number(attribute(name)?.i ?? fallback),
    float: (name, fallback) => attribute(name)?.f ?? fallback,
    ints: (name) => attribute(name)?.ints.map(Number),
    text: (name, fallback) => {
      const bytes = attribute(name)?.s;
      return bytes === undefined ? fallback : new TextDecoder().decode(bytes);
    },
    tensor: (name) => {
      const message = attribute(name)?.t;
      return message === undefined ? undefined : hostTensor(around.caller, message);
    },
    attribute,
    unread: () => [...attributes.keys()].filter((name) => !asked.has(name)),
    has,
    spec: (index) => (has(index) ? operand(index).spec : unsupported(`input ${index} is missing`)),
    value: (index) => (has(index) ? operand(index).value() : unsupported(`input ${index} is missing`)),
    known: (index) => (has(index) ? operand(index).known : null),
    dimensions: (index) => self.known(index)?.elements ?? unsupported(`input ${index} is not known before it runs`),
    numbers: (index) => {
      const elements = self.dimensions(index);
      if (elements.some((element) => typeof element === "string"))
        unsupported(`input ${index} depends on a symbolic size`);
      return elements as readonly number[];
    },
    locate: (symbol) => around.locate(symbol) ?? unsupported(`no tensor has the dimension ${symbol}`),
    update: (index, next) => around.update(node.input[index]!, next),
  };
  return self;
}

/** Our dtype of an ONNX element type. */
export function dtypeOf(elementType: number): DType {
  return isHostType(elementType)
    ? (dtypeName(elementType) as DType)
    : unsupported(`${dtypeName(elementType)} is no dtype of host tensors`);
}
