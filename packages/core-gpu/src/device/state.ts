import { InputError } from "../errors.ts";
import type { TensorInfo } from "../onnx/model.ts";
import { printSpec } from "../program/spec.ts";
import { type Port, type Program, requireProgram } from "../program/trace.ts";
import { flattenTree, type TreeRecord } from "../program/tree.ts";
import type { Tensor } from "../tensor.ts";
import { checkKnown, checkTensor, quoted } from "./checks.ts";

/** A program's ports sorted by who holds them: the caller (`feeds`, `results`) or the device (`state`). */
export interface StatePlan {
  readonly feeds: readonly Port[];
  readonly state: readonly Port[];
  /** For the names of state that changes, the outputs which are its next values. */
  readonly next: ReadonlyMap<string, Port>;
  readonly results: readonly Port[];
}

/**
 * Sorts the ports of a program into what is fed, what stays and what is returned.
 *
 * @param keys Names of state: of an input, or of a record or array of inputs.
 * @param bound Inputs that are neither fed nor kept, because they are compiled in.
 * @throws InputError where the program is none, a key names no input, state has a symbolic shape, or the output of its name another spec.
 */
export function planState(
  caller: string,
  program: Program<unknown, unknown>,
  keys: readonly string[],
  bound: readonly string[] = [],
): StatePlan {
  requireProgram(caller, program);
  const under = (key: string) => (port: Port) => port.name === key || port.name.startsWith(`${key}.`);
  const unknown = keys.filter((key) => !program.inputs.some(under(key)) && !isEmptyBranch(program.inputSpecs, key));
  if (unknown.length > 0) {
    const known = quoted([...new Set(program.inputs.map(({ name }) => name.split(".")[0]!))]);
    throw new InputError(caller, `state must name inputs of the program (${known})`, quoted(unknown));
  }
  const inputs = program.inputs.filter(({ name }) => !bound.includes(name));
  const state = inputs.filter((port) => keys.some((key) => under(key)(port)));
  const byName = new Map(state.map((port) => [port.name, port]));
  for (const { name, spec } of state) {
    if (spec.shape.every((dimension) => typeof dimension === "number")) continue;
    throw new InputError(caller, `state "${name}" must have a shape without symbols`, printSpec(spec));
  }
  const next = new Map<string, Port>();
  for (const port of program.outputs) {
    const before = byName.get(port.name);
    if (before === undefined) continue;
    if (printSpec(before.spec) !== printSpec(port.spec)) {
      const expectation = `output "${port.name}" must be like the state of its name, ${printSpec(before.spec)}`;
      throw new InputError(caller, expectation, printSpec(port.spec), "Rename it, or give it the state's shape.");
    }
    // State that is handed through does not change, and need not be copied.
    if (port.value !== before.value) next.set(port.name, port);
  }
  return {
    feeds: inputs.filter((port) => !byName.has(port.name)),
    state,
    next,
    results: program.outputs.filter((port) => !byName.has(port.name)),
  };
}

/** An optimiser without state is an empty record: `state` may name it although it has no inputs. */
function isEmptyBranch(specs: unknown, key: string): boolean {
  const branch = key
    .split(".")
    .reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], specs);
  return typeof branch === "object" && branch !== null && Object.keys(branch).length === 0;
}

/** Ports as the checks of feeds and outputs know tensors. */
export function tensorInfos(ports: readonly Port[]): readonly TensorInfo[] {
  return ports.map(({ name, spec: { dtype, shape } }) => ({ name, dtype, shape }));
}

/** The leaves of a tree (or flat record) of state. @throws InputError on names, dtypes and shapes that are not the state's. */
export function checkState(caller: string, plan: StatePlan, tree: TreeRecord<Tensor>): ReadonlyMap<string, Tensor> {
  const leaves = flattenTree<TreeRecord<Tensor>, Tensor>(caller, tree);
  const infos = new Map(tensorInfos(plan.state).map((info) => [info.name, info]));
  const names = leaves.map(({ name }) => name);
  checkKnown(caller, "state", "state input", [...infos.keys()], names);
  for (const { name, leaf } of leaves) checkTensor(caller, `state "${name}"`, infos.get(name)!, leaf);
  return new Map(leaves.map(({ name, leaf }) => [name, leaf]));
}

/** Refuses to go on while some state has no value. */
export function checkComplete(caller: string, plan: StatePlan, has: (name: string) => boolean): void {
  const missing = plan.state.filter(({ name }) => !has(name)).map(({ name }) => name);
  if (missing.length === 0) return;
  const some = missing.length > 8 ? `${quoted(missing.slice(0, 8))} and ${missing.length - 8} more` : quoted(missing);
  const fix = "Pass `initial` to compile, or call writeState first.";
  throw new InputError(caller, "all state must have a value", `none for ${some}`, fix);
}

/** Refuses feeds in which one symbol has two sizes: the runtime would complain in the middle of the network, if at all. */
export function checkSymbols(
  caller: string,
  feeds: readonly TensorInfo[],
  given: Readonly<Record<string, Tensor>>,
): void {
  const sizes = new Map<string, { readonly size: number; readonly name: string }>();
  for (const { name, shape } of feeds) {
    shape.forEach((symbol, axis) => {
      if (typeof symbol !== "string") return;
      const size = given[name]!.shape[axis]!;
      const before = sizes.get(symbol);
      if (before === undefined) sizes.set(symbol, { size, name });
      else if (before.size !== size) {
        const actual = `${before.size} in feed "${before.name}" and ${size} in feed "${name}"`;
        throw new InputError(caller, `dimension ${symbol} must have one size in all feeds`, actual);
      }
    });
  }
}
