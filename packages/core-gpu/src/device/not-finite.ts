import { writeModel } from "../onnx/model.ts";
import { floats } from "../program/operator.ts";
import { programToModel } from "../program/to-model.ts";
import type { Port, Program, ProgramNode } from "../program/trace.ts";
import type { Tensor } from "../tensor.ts";
import { createNative, fromNative, type Placement, toNative } from "./native.ts";

/**
 * Runs a program once more with every float between its operators as an output, and finds the operator that first made a
 * NaN, or the infinity it came from, out of finite numbers: `ops.sqrt of -1 to 3`. An input that is not finite is named
 * itself. Null where all is finite.
 *
 * @param fed Feeds, state and constants, by the program's input names.
 */
export async function findNotFinite(
  placement: Placement,
  program: Program<unknown, unknown>,
  fed: Readonly<Record<string, Tensor>>,
): Promise<string | null> {
  for (const { name } of program.inputs) {
    const value = fed[name];
    if (value !== undefined && isFloat(value) && !rangeOf(value).finite) return `input "${name}", which was fed so`;
  }
  const made = program.nodes.flatMap(({ outputs }) => outputs.filter((value) => isFloat(program.values[value]!)));
  const ports = made.map((value): Port => ({ name: `value/${value}`, value, spec: program.values[value]! }));
  if (ports.length === 0) return null;
  const model = programToModel({ ...program, outputs: ports });
  const native = await createNative("core-gpu.Runner", placement, writeModel(model), { optimization: "none" });
  try {
    const feeds = Object.fromEntries(program.inputs.map(({ name }) => [name, toNative(fed[name]!)]));
    const results = await native.run(feeds);
    const held = new Map<number, Tensor>(ports.map(({ name, value }) => [value, fromNative(results[name]!)]));
    for (const { name, value } of program.inputs) held.set(value, fed[name]!);
    for (const { value, tensor } of program.constants) held.set(value, tensor);
    return culprit(program, held);
  } finally {
    await native.release();
  }
}

function culprit({ nodes }: Program<unknown, unknown>, held: ReadonlyMap<number, Tensor>): string | null {
  const ranges = new Map<number, Range>();
  for (const [value, tensor] of held) if (isFloat(tensor)) ranges.set(value, rangeOf(tensor));
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
  const is = (what: "nan" | "finite", value: number) => ranges.get(value)?.[what] ?? what === "finite";
  const nan = ({ inputs, outputs }: ProgramNode) =>
    outputs.some((value) => is("nan", value)) && !inputs.some((value) => is("nan", value));
  const infinite = ({ outputs }: ProgramNode) => outputs.some((value) => !is("finite", value));
  let node = nodes.find(nan) ?? nodes.find(infinite);
  if (node === undefined) return null;
  // An infinity that became NaN has its own source.
  for (;;) {
    const source: number | undefined = node.inputs.find((value) => !is("finite", value) && producers.has(value));
    if (source === undefined) break;
    node = producers.get(source)!;
  }
  const operands = node.inputs.flatMap((value) => ranges.get(value) ?? []);
  const given = operands
    .map(({ low, high }) => (low === high ? short(low) : `${short(low)} to ${short(high)}`))
    .join(" and ");
  return `ops.${node.operator.name}${given === "" ? "" : ` of ${given}`}`;
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

interface Range {
  readonly low: number;
  readonly high: number;
  readonly nan: boolean;
  readonly finite: boolean;
}

function rangeOf({ data }: Tensor): Range {
  let [low, high, nan] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, false];
  for (const value of data as Float32Array) {
    if (value < low) low = value;
    if (value > high) high = value;
    if (Number.isNaN(value)) nan = true;
  }
  return { low, high, nan, finite: !nan && (low > high || (Number.isFinite(low) && Number.isFinite(high))) };
}

const isFloat = ({ dtype }: Pick<Tensor, "dtype">): boolean => floats.includes(dtype);
