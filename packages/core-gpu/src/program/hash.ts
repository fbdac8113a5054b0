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
