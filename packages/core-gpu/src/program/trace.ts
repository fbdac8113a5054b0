import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Operator } from "./operator.ts";
import type { Spec } from "./spec.ts";
import { flattenTree, mapTree, type SpecsOf, type TreeRecord, type ValuesOf } from "./tree.ts";
import { type Application, isValue, makeValue, type Value } from "./value.ts";

/**
 * A traced function: a list of operator applications in which every value is written once, before it is read. Values are
 * numbered: inputs first, then constants, then the results of the nodes in order.
 *
 * @typeParam I Tree of the inputs' specs.
 * @typeParam O Tree of the outputs' specs.
 */
export interface Program<I = TreeRecord<Spec>, O = TreeRecord<Spec>> {
  /** Spec of every value, by number. */
  readonly values: readonly Spec[];
  readonly inputs: readonly Port[];
  readonly constants: readonly ProgramConstant[];
  readonly nodes: readonly ProgramNode[];
  readonly outputs: readonly Port[];
  /** The inputs' specs as the tree that was given to {@link trace}. */
  readonly inputSpecs: I;
  /** The outputs' specs as the tree that the function returned. */
  readonly outputSpecs: O;
}

/** A named input or output: the path in its tree, keys joined by dots (`params.layers.0.weight`). */
export interface Port {
  readonly name: string;
  readonly value: number;
  readonly spec: Spec;
}

/** Data known when the program was traced. */
export interface ProgramConstant {
  readonly value: number;
  readonly tensor: Tensor;
}

/** An operator applied to values, giving new ones. */
export interface ProgramNode {
  readonly operator: Operator;
  readonly attributes: object;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/**
 * Runs a function once on symbolic values and records what it computes as a {@link Program}.
 *
 * Shapes and dtypes are checked while it runs; a symbol (`"n"`) equals only itself. Host tensors and numbers that the
 * function uses become constants, kept by reference. What no output depends on is left out; inputs stay.
 *
 * @param fn Gets the tree of `specs` with a {@link Value} in place of each, and returns a record (nested records and
 * arrays below) of values. Must be synchronous; ordinary control flow is resolved now.
 * @param specs What goes in: a record (nested records and arrays below) of {@link Spec}s.
 * @returns The program; its inputs and outputs are named by their paths, keys joined by dots.
 * @throws InputError where an operator refuses its operands (naming the operator, the shapes, the operands and the line), two paths are
 * the same, the result holds something else than values, or a value of another trace is used.
 * @example
 * ```ts
 * import { ops, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(({ x, head }) => ({ logits: ops.linear(x, head.weight, head.bias) }), {
 *   x: spec("float32", ["n", 64]),
 *   head: { weight: spec("float32", [10, 64]), bias: spec("float32", [10]) },
 * });
 * console.assert(program.outputs[0]?.spec.shape.join() === "n,10");
 * ```
 */
export function trace<const I extends TreeRecord<Spec>, O extends TreeRecord<Value>>(
  fn: (inputs: ValuesOf<I>) => O,
  specs: I,
): Program<I, SpecsOf<O>> {
  const caller = "core-gpu.trace";
  checkArguments(caller, { fn: [fn, "a function"] });
  const inputs = flattenTree<I, Spec>(caller, specs).map(({ name, leaf }) => ({
    name,
    value: makeValue({ dtype: leaf.dtype, shape: leaf.shape }, { kind: "input", name }),
  }));
  const byName = new Map(inputs.map(({ name, value }) => [name, value]));
  const result = fn(mapTree(caller, specs, (_, name) => byName.get(name)!));
  const outputs = flattenTree<O, Value>(caller, result).map(({ name, leaf }) => {
    if (isValue(leaf)) return { name, value: leaf };
    throw new InputError(caller, "the function must return traced values", `something else at "${name}"`);
  });
  return {
    ...linearise(inputs, outputs),
    inputSpecs: specs,
    outputSpecs: mapTree(caller, result, ({ dtype, shape }) => ({ dtype, shape })) as SpecsOf<O>,
  };
}

/** Refuses what is no program, such as the function that was to be traced. */
export function requireProgram(caller: string, program: Program<unknown, unknown>): void {
  const { inputs, nodes, outputs } = (program ?? {}) as Partial<Program>;
  if (Array.isArray(inputs) && Array.isArray(nodes) && Array.isArray(outputs)) return;
  const fix = "Pass what `trace` gave.";
  throw new InputError(caller, "the program must be a traced one", program === null ? "null" : typeof program, fix);
}

interface NamedValue {
  readonly name: string;
  readonly value: Value;
}

/** Orders all that `outputs` depend on, operands first, and numbers it. */
function linearise(
  inputs: readonly NamedValue[],
  outputs: readonly NamedValue[],
): Omit<Program, "inputSpecs" | "outputSpecs"> {
  const { constants, applications } = collect(
    new Set(inputs.map(({ value }) => value)),
    outputs.map(({ value }) => value),
  );
  const values: Spec[] = [];
  const numbers = new Map<Value, number>();
  const number = (value: Value): number => {
    const { dtype, shape } = value;
    numbers.set(value, values.length);
    return values.push({ dtype, shape }) - 1;
  };
  const port = ({ name, value }: NamedValue): Port => ({
    name,
    value: numbers.get(value)!,
    spec: values[numbers.get(value)!]!,
  });
  for (const { value } of inputs) number(value);
  const listed: ProgramConstant[] = [];
  for (const { tensor, uses } of constants) {
    const first = number(uses[0]!);
    for (const use of uses) numbers.set(use, first);
    listed.push({ value: first, tensor });
  }
  const nodes = applications.map(({ operator, attributes, operands, results }) => ({
    operator,
    attributes,
    inputs: operands.map((operand) => numbers.get(operand)!),
    outputs: results.map(number),
  }));
  return { values, inputs: inputs.map(port), constants: listed, nodes, outputs: outputs.map(port) };
}

interface UsedConstant {
  readonly tensor: Tensor;
  readonly uses: Value[];
}

/** Depth first without recursion: networks are deeper than the call stack. */
function collect(inputs: ReadonlySet<Value>, outputs: readonly Value[]) {
  const constants = new Map<unknown, UsedConstant>();
  const applications = new Set<Application>();
  const seen = new Set<Value>();
  const visit = (value: Value, pending: (Value | Application)[]): void => {
    if (seen.has(value)) return;
    seen.add(value);
    const { producer } = value;
    if (producer.kind === "result") {
      if (applications.has(producer.application)) return;
      pending.push(producer.application, ...[...producer.application.operands].reverse());
    } else if (producer.kind === "constant") {
      const { tensor } = producer;
      const key = tensor.shape.length === 0 ? `${tensor.dtype} ${bits(tensor)}` : tensor;
      const known = constants.get(key);
      if (known === undefined) constants.set(key, { tensor, uses: [value] });
      else known.uses.push(value);
    } else if (!inputs.has(value)) {
      throw new InputError(
        "core-gpu.trace",
        "the function may use only its own inputs and constants",
        `input "${producer.name}" of another trace`,
        "Pass it in through the specs.",
      );
    }
  };
  for (const output of outputs) {
    const pending: (Value | Application)[] = [output];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if ("operator" in next) applications.add(next);
      else visit(next, pending);
    }
  }
  return { constants: [...constants.values()], applications: [...applications] };
}

/** The exact element of a scalar as text, telling −0 from 0. */
function bits({ data }: Tensor): string {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).join(",");
}
