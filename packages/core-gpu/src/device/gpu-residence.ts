import type * as ort from "onnxruntime-node";
import { writeModel } from "../onnx/model.ts";
import * as ops from "../program/ops/index.ts";
import { programToModel } from "../program/to-model.ts";
import { trace } from "../program/trace.ts";
import type { Value } from "../program/value.ts";
import type { Tensor } from "../tensor.ts";
import type { PortNames } from "./loop.ts";
import { createNative, fromNative, type Placement, runtimeError, toNative } from "./native.ts";
import type { Residence } from "./residence.ts";
import type { StatePlan } from "./state.ts";

/**
 * State in the memory of a graphics card: the outputs of one run are the inputs of the next, and the old ones are freed.
 *
 * @param names What the model calls the program's ports.
 */
export function gpuResidence(placement: Placement, plan: StatePlan, { inputs, outputs }: PortNames): Residence {
  /** Written and not yet on the card. */
  const pending = new Map<string, Tensor>();
  const resident = new Map<string, ort.Tensor>();
  const transfer = transfers(placement, plan);
  const mixed = (): Record<string, ort.Tensor> =>
    Object.fromEntries(
      plan.state.map(({ name }) => {
        const waiting = pending.get(name);
        return [name, waiting === undefined ? resident.get(name)! : toNative(waiting)];
      }),
    );
  const replace = (name: string, value: ort.Tensor): void => {
    resident.get(name)?.dispose();
    resident.set(name, value);
  };

  return {
    bound: true,
    has: (name) => pending.has(name) || resident.has(name),
    feeds: async () => {
      if (pending.size > 0) {
        const uploaded = await transfer("gpu-buffer", mixed());
        for (const [name, value] of uploaded) replace(name, value);
        pending.clear();
      }
      return Object.fromEntries([...resident].map(([name, value]) => [inputs.get(name)!, value]));
    },
    fetches: () => Object.fromEntries([...plan.next.keys()].map((name) => [outputs.get(name)!, null])),
    commit: (results) => {
      for (const name of plan.next.keys()) replace(name, results[outputs.get(name)!]!);
    },
    before: () => null,
    read: async () => {
      if (plan.state.length === 0) return {};
      const downloaded = await transfer("cpu", mixed());
      return Object.fromEntries([...downloaded].map(([name, value]) => [name, fromNative(value)]));
    },
    write: (state) => {
      for (const [name, value] of state) pending.set(name, { ...value, data: value.data.slice() } as Tensor);
    },
    release: async () => {
      for (const value of resident.values()) value.dispose();
      resident.clear();
      await transfer("release");
    },
  };
}

type Direction = "cpu" | "gpu-buffer";

interface Transfer {
  (direction: Direction, tensors: Readonly<Record<string, ort.Tensor>>): Promise<ReadonlyMap<string, ort.Tensor>>;
  (release: "release"): Promise<void>;
}

/**
 * Copies all state to one place through a network that changes nothing: asking the runtime for the data of a tensor on
 * the card ends the process (1.30), while an output that is wanted on the host arrives there.
 */
function transfers(placement: Placement, plan: StatePlan): Transfer {
  const caller = "core-gpu.Runner";
  const sessions = new Map<Direction, Promise<ort.InferenceSession>>();
  const output = (index: number) => `${index}/copy`;
  const open = (direction: Direction): Promise<ort.InferenceSession> => {
    const specs = Object.fromEntries(plan.state.map(({ spec }, index) => [String(index), spec]));
    const copying = trace(
      (inputs) =>
        Object.fromEntries(plan.state.map((_, index) => [output(index), ops.identity(inputs[index] as Value)])),
      specs,
    );
    const location = Object.fromEntries(plan.state.map((_, index) => [output(index), direction]));
    return createNative(caller, placement, writeModel(programToModel(copying)), undefined, { location });
  };
  const copy = async (direction: Direction, tensors: Readonly<Record<string, ort.Tensor>>) => {
    const opening = sessions.get(direction) ?? open(direction);
    sessions.set(direction, opening);
    const session = await opening;
    const feeds = Object.fromEntries(plan.state.map(({ name }, index) => [String(index), tensors[name]!]));
    try {
      const results = await session.run(feeds);
      return new Map(plan.state.map(({ name }, index) => [name, results[output(index)]!]));
    } catch (error) {
      const fix = "The device may be gone or out of memory.";
      throw runtimeError(caller, "state must be copied to or from the device", error, fix);
    }
  };
  const release = async () => {
    const opened = await Promise.allSettled(sessions.values());
    sessions.clear();
    for (const result of opened) if (result.status === "fulfilled") await result.value.release();
  };
  return ((direction: Direction | "release", tensors: Readonly<Record<string, ort.Tensor>> = {}) =>
    direction === "release" ? release() : copy(direction, tensors)) as Transfer;
}
