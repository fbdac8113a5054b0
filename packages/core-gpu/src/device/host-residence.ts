import type * as ort from "onnxruntime-node";
import { bytesPerElement, sizeOf, type Tensor, tensor } from "../tensor.ts";
import type { PortNames } from "./loop.ts";
import { fromNative, toNative } from "./native.ts";
import type { Residence } from "./residence.ts";
import type { StatePlan } from "./state.ts";

interface Buffers {
  readonly feeds: Readonly<Record<string, ort.Tensor>>;
  readonly fetches: Readonly<Record<string, ort.Tensor>>;
}

/**
 * State in host memory: three sets of buffers, of which every run reads one and writes the next. They are passed by
 * reference, so that nothing is copied; what the last two runs read is still there when something went wrong.
 *
 * @param names What the model calls the program's ports.
 */
export function hostResidence(plan: StatePlan, { inputs, outputs }: PortNames): Residence {
  const known = new Set<string>();
  const fixed = plan.state.filter(({ name }) => !plan.next.has(name));
  const constant = allocate(fixed);
  const moving = plan.state.filter(({ name }) => plan.next.has(name));
  const sets = [allocate(moving), allocate(moving), allocate(moving)] as const;
  const reading = (from: (typeof sets)[number], to: (typeof sets)[number]): Buffers => ({
    feeds: Object.fromEntries(
      Object.entries({ ...constant, ...from }).map(([name, value]) => [inputs.get(name)!, value]),
    ),
    fetches: Object.fromEntries(moving.map(({ name }) => [outputs.get(name)!, to[name]!])),
  });
  const turns = sets.map((set, at) => reading(set, sets[(at + 1) % sets.length]!));
  let [turn, runs] = [0, 0];
  const copied = ({ feeds }: Buffers): Record<string, Tensor> =>
    Object.fromEntries(
      plan.state.map(({ name }) => {
        const held = fromNative(feeds[inputs.get(name)!]!);
        return [name, { ...held, data: held.data.slice() } as Tensor];
      }),
    );

  return {
    bound: false,
    has: (name) => known.has(name),
    feeds: async () => turns[turn]!.feeds,
    fetches: () => turns[turn]!.fetches,
    commit: () => {
      turn = (turn + 1) % turns.length;
      runs++;
    },
    before: (ago) => (runs > ago ? copied(turns[(turn + 2 - ago) % turns.length]!) : null),
    read: async () => copied(turns[turn]!),
    write: (state) => {
      for (const [name, { data }] of state) {
        (turns[turn]!.feeds[inputs.get(name)!]!.data as Float32Array).set(data as Float32Array);
        known.add(name);
      }
      runs = 0;
    },
    release: async () => {},
  };
}

/** One buffer for all, as an optimiser's many small tensors are then read and written in one stretch of memory. */
function allocate(ports: StatePlan["state"]): Record<string, ort.Tensor> {
  const made = ports.map(({ name, spec: { dtype, shape } }) => {
    const sizes = shape as readonly number[];
    return { name, dtype, sizes, bytes: sizeOf(sizes) * bytesPerElement(dtype) };
  });
  const aligned = (bytes: number) => Math.ceil(bytes / 64) * 64;
  const buffer = new ArrayBuffer(made.reduce((sum, { bytes }) => sum + aligned(bytes), 0));
  let at = 0;
  return Object.fromEntries(
    made.map(({ name, dtype, sizes }) => {
      const empty = tensor(dtype, []);
      const Data = empty.data.constructor as Float32ArrayConstructor;
      const data = new Data(buffer, at, sizeOf(sizes));
      at += aligned(data.byteLength);
      return [name, toNative({ dtype, shape: sizes, data } as Tensor)];
    }),
  );
}
