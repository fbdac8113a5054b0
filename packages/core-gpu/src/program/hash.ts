import { createHash } from "node:crypto";
import type { Tensor } from "../tensor.ts";
import type { Operator } from "./operator.ts";
import type { Program } from "./trace.ts";

const hashes = new WeakMap<Program<unknown, unknown>, string>();
const operators = new WeakMap<Operator, number>();
let operatorCount = 0;

/**
 * A hash of what a program computes: equal for two traces of one function. Operators count by identity, so it means
 * something only within the process.
 */
export function hashProgram(program: Program<unknown, unknown>): string {
  const known = hashes.get(program);
  if (known !== undefined) return known;
  const hash = createHash("sha256");
  const { values, inputs, constants, nodes, outputs } = program;
  const ports = [inputs, outputs].map((list) => list.map(({ name, value }) => [name, value]));
  hash.update(JSON.stringify([values.map(({ dtype, shape }) => [dtype, shape]), ports]));
  for (const { value, tensor } of constants) hash.update(`${value}:`).update(hashTensor(tensor));
  for (const { operator, attributes, inputs, outputs } of nodes) {
    hash.update(JSON.stringify([identity(operator), attributes, inputs, outputs], exact));
  }
  const digest = hash.digest("hex");
  hashes.set(program, digest);
  return digest;
}

/**
 * A program as text, equal for two traces of one function in any process, and its constants in the order in which they are
 * read, which the text leaves out.
 */
export function programStructure({ values, inputs, constants, nodes, outputs }: Program<unknown, unknown>): {
  readonly text: string;
  readonly constants: readonly Tensor[];
} {
  const constant = new Map(constants.map(({ value, tensor }) => [value, tensor]));
  const read: Tensor[] = [];
  const numbers = new Map<number, number>();
  // Equal constants are one in a trace: numbers of what they do not hold must not depend on it.
  const numbered = (value: number): number | string => {
    const tensor = constant.get(value);
    if (tensor !== undefined) {
      read.push(tensor);
      return `${tensor.dtype} ${tensor.shape.join()}`;
    }
    numbers.set(value, numbers.get(value) ?? numbers.size);
    return numbers.get(value)!;
  };
  const ports = (list: Program["inputs"]) =>
    list.map(({ name, value }) => [name, numbered(value), values[value]!.dtype, values[value]!.shape]);
  const parts = [
    ports(inputs),
    nodes.map(({ operator, attributes, inputs, outputs }) => [
      operator.name,
      attributes,
      inputs.map(numbered),
      outputs.map(numbered),
    ]),
    ports(outputs),
  ];
  // What a function says differs between sources and what is built of them.
  const stated = (key: string, value: unknown) => (typeof value === "function" ? "function" : exact(key, value));
  return { text: JSON.stringify(parts, stated), constants: read };
}

/** A hash of a tensor's dtype, shape and elements. */
export function hashTensor({ dtype, shape, data }: Tensor): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash("sha256").update(`${dtype} ${shape.join()} `).update(bytes).digest("hex");
}

function identity(operator: Operator): number {
  const known = operators.get(operator);
  if (known !== undefined) return known;
  operators.set(operator, operatorCount);
  return operatorCount++;
}

/** What JSON would drop or confuse in attributes. */
function exact(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return { bigint: String(value) };
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { number: Object.is(value, -0) ? "-0" : String(value) };
  }
  if (ArrayBuffer.isView(value)) {
    return { bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (typeof value === "function") return { function: String(value) };
  return value;
}
