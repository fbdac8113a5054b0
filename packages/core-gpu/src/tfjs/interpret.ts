import { InputError } from "../errors.ts";
import { printSpec } from "../program/spec.ts";
import type { Program, ProgramNode } from "../program/trace.ts";
import { kernels } from "./kernels/index.ts";
import { sizeOfDimension } from "./sizes.ts";
import type { Tfjs, TfjsTensor } from "./tfjs.ts";

/** A program made ready to be computed node by node. */
export interface Interpretation {
  /**
   * Computes the values asked for. The tensors given stay the caller's; those returned are the caller's too, one for
   * each value asked for, none of them one that was given. Nothing else is left behind, also where it throws.
   */
  run(given: ReadonlyMap<number, TfjsTensor>, asked: readonly number[]): Map<number, TfjsTensor>;
}

/**
 * Looks up the kernels of a program's operators.
 *
 * @param given Numbers of the values that are there before the first node.
 * @throws InputError where an operator has no kernel or a value a dtype that tfjs has not.
 */
export function interpret(caller: string, tf: Tfjs, program: Program<unknown, unknown>): Interpretation {
  for (const { operator, outputs } of program.nodes) {
    if (!Object.hasOwn(kernels, operator.name)) {
      throw new InputError(caller, "every operator must have a kernel for tfjs", `ops.${operator.name}`);
    }
    refuseFloat64(`a result of ops.${operator.name}`, outputs);
  }
  for (const { name, value } of program.inputs) refuseFloat64(`input "${name}"`, [value]);
  for (const { value } of program.constants) refuseFloat64("a constant", [value]);

  function refuseFloat64(what: string, values: readonly number[]): void {
    for (const value of values) {
      const spec = program.values[value]!;
      if (spec.dtype !== "float64") continue;
      throw new InputError(
        caller,
        "tfjs has no float64",
        `${what} ${printSpec(spec)}`,
        "Trace the program in float32.",
      );
    }
  }

  return { run: (given, asked) => run(tf, program, given, asked) };
}

function run(
  tf: Tfjs,
  program: Program<unknown, unknown>,
  given: ReadonlyMap<number, TfjsTensor>,
  asked: readonly number[],
): Map<number, TfjsTensor> {
  const nodes = neededNodes(program, asked);
  const lastUse = new Map<number, number>();
  nodes.forEach((node, index) => {
    for (const value of [...node.inputs, ...node.outputs]) lastUse.set(value, index);
  });
  const wanted = new Set(asked);
  const sizes = new Map<string, number>();
  const bind = (value: number, tensor: TfjsTensor) => {
    program.values[value]!.shape.forEach((symbol, axis) => {
      if (typeof symbol === "string") sizes.set(symbol, tensor.shape[axis]!);
    });
  };
  for (const [value, tensor] of given) bind(value, tensor);

  const made = new Map<number, TfjsTensor>();
  const tensorOf = (value: number): TfjsTensor => made.get(value) ?? given.get(value)!;
  try {
    nodes.forEach((node, index) => {
      const results = apply(tf, program, node, node.inputs.map(tensorOf), sizes);
      node.outputs.forEach((value, result) => {
        made.set(value, results[result]!);
        bind(value, results[result]!);
      });
      for (const value of new Set([...node.inputs, ...node.outputs])) {
        if (lastUse.get(value) !== index || wanted.has(value)) continue;
        made.get(value)?.dispose();
        made.delete(value);
      }
    });
  } catch (error) {
    for (const tensor of made.values()) tensor.dispose();
    throw error;
  }
  for (const value of asked) if (!made.has(value)) made.set(value, given.get(value)!.clone());
  return made;
}

/** The nodes that the values asked for depend on. */
function neededNodes(program: Program<unknown, unknown>, asked: readonly number[]): readonly ProgramNode[] {
  const needed = new Set(asked);
  return program.nodes
    .toReversed()
    .filter((node) => {
      if (!node.outputs.some((value) => needed.has(value))) return false;
      for (const value of node.inputs) needed.add(value);
      return true;
    })
    .reverse();
}

/** One node. Its results are new tensors even where the kernel hands an operand through. */
function apply(
  tf: Tfjs,
  { values }: Program<unknown, unknown>,
  { operator, attributes, inputs, outputs }: ProgramNode,
  operands: readonly TfjsTensor[],
  sizes: ReadonlyMap<string, number>,
): readonly TfjsTensor[] {
  const shapes = outputs.map((value) => {
    const shape = values[value]!.shape.map((dimension) => sizeOfDimension(dimension, sizes));
    return shape.every((size) => size !== null) ? shape : null;
  });
  const call = {
    attributes,
    operands,
    operandSpecs: inputs.map((value) => values[value]!),
    resultSpecs: outputs.map((value) => values[value]!),
    shapes,
  };
  let results: readonly TfjsTensor[];
  try {
    results = tf.tidy(() => {
      const found = [kernels[operator.name]!(tf, call)].flat() as TfjsTensor[];
      return found.map((result, at) =>
        operands.includes(result) || found.indexOf(result) !== at ? result.clone() : result,
      );
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const expectation = `tfjs's back end "${tf.getBackend()}" must be able to compute ops.${operator.name}`;
    throw new InputError("core-gpu.Runner.run", expectation, `"${message}"`, "Use another back end of tfjs.", error);
  }
  if (results.length !== outputs.length) {
    for (const tensor of results) tensor.dispose();
    throw new Error(`tfjs gave ${results.length} results for the ${outputs.length} of ops.${operator.name}`);
  }
  results.forEach((result, at) => {
    const shape = shapes[at];
    if (shape == null || (shape.length === result.shape.length && shape.every((size, i) => size === result.shape[i])))
      return;
    for (const tensor of results) tensor.dispose();
    throw new Error(`tfjs gave [${result.shape}] for a result [${shape}] of ops.${operator.name}`);
  });
  return results;
}
