import { writeModel } from "../onnx/model.ts";
import { hashProgram, hashTensor } from "../program/hash.ts";
import { type ProgramToModelOptions, programToModel } from "../program/to-model.ts";
import type { Program } from "../program/trace.ts";
import { flattenTree } from "../program/tree.ts";
import type { Tensor } from "../tensor.ts";
import { idlePasses } from "./idle-passes.ts";
import { loopModel, type PortNames } from "./loop.ts";
import type { CompileOptions } from "./runner.ts";
import type { StatePlan } from "./state.ts";

/** A program as a model in which no output is called like an input. */
export interface Layout {
  /** Equal for equal models. */
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly names: PortNames;
  /** See {@link idlePasses}. */
  readonly idle: string;
}

interface LayoutOptions {
  readonly opset: number | undefined;
  readonly constants: NonNullable<CompileOptions["constants"]>;
  /** What is known of the runtime; see `programToModel`. */
  readonly runtime?: Pick<ProgramToModelOptions, "blocks" | "provider">;
  /** Several steps in one run: the symbol of their number, and how many there are where nothing is fed. */
  readonly loop?: { readonly symbol: string; readonly steps: number };
}

/** Layouts by their keys, the last used last. */
const cache = new Map<string, Layout>();
const cacheLimit = 256 * 2 ** 20;

/** Writes a program as a model; of one that was written before, as long as it is kept, gives the same bytes. */
export function layOut(program: Program<unknown, unknown>, plan: StatePlan, options: LayoutOptions): Layout {
  const { opset, constants, loop, runtime } = options;
  const bound = flattenTree<object, Tensor>("core-gpu.Device.compile", constants);
  const key = JSON.stringify([
    hashProgram(program),
    opset,
    loop,
    runtime,
    plan.state.map(({ name }) => name),
    bound.map(({ name, leaf }) => [name, hashTensor(leaf)]),
  ]);
  const known = cache.get(key);
  const layout = known ?? { key, ...written(program, plan, options) };
  keep(layout);
  return layout;
}

function written(
  program: Program<unknown, unknown>,
  plan: StatePlan,
  { opset, constants, loop, runtime }: LayoutOptions,
): Omit<Layout, "key"> {
  const outputs = outputNames(program);
  // State comes first: the runtime numbers the places of outputs by those that are asked for, and state always is.
  const ports = [...plan.next.values(), ...plan.results].map((port) => ({ ...port, name: outputs.get(port.name)! }));
  const chosen = opset === undefined ? {} : { opset };
  const step = programToModel({ ...program, outputs: ports }, { constants, ...runtime, ...chosen });
  const idle = idlePasses(step);
  if (loop === undefined) {
    const inputs = new Map(program.inputs.map(({ name }) => [name, name]));
    return { bytes: writeModel(step), names: { inputs, outputs }, idle };
  }
  const { model, names } = loopModel(step, plan, outputs, loop.symbol, loop.steps);
  return { bytes: writeModel(model), names, idle };
}

function outputNames(program: Program<unknown, unknown>): ReadonlyMap<string, string> {
  const inputs = new Set(program.inputs.map(({ name }) => name));
  const taken = new Set([...inputs, ...program.outputs.map(({ name }) => name)]);
  return new Map(
    program.outputs.map(({ name }) => {
      let renamed = name;
      while (inputs.has(name) && taken.has(renamed)) renamed += "/next";
      taken.add(renamed);
      return [name, renamed];
    }),
  );
}

function keep(layout: Layout): void {
  cache.delete(layout.key);
  cache.set(layout.key, layout);
  let total = [...cache.values()].reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  for (const [oldest, { bytes }] of cache) {
    if (total <= cacheLimit || oldest === layout.key) break;
    cache.delete(oldest);
    total -= bytes.byteLength;
  }
}
