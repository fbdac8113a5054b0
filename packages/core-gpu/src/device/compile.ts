import type * as ort from "onnxruntime-node";
import { z } from "zod";
import { parseOptions } from "../options.ts";
import type { ProgramToModelOptions } from "../program/to-model.ts";
import type { Program } from "../program/trace.ts";
import { flattenTree } from "../program/tree.ts";
import type { Tensor } from "../tensor.ts";
import { channelBlocks } from "./blocks.ts";
import { gpuResidence } from "./gpu-residence.ts";
import { hostResidence } from "./host-residence.ts";
import { type Layout, layOut } from "./layout.ts";
import { plannedSteps } from "./loop.ts";
import { createNative, loadOptions, type Placement } from "./native.ts";
import { findNotFinite } from "./not-finite.ts";
import type { CompileOptions, Runner } from "./runner.ts";
import { checkState, planState, type StatePlan } from "./state.ts";
import { makeRunner } from "./stateful.ts";

const tree = z.custom<object>((value) => typeof value === "object" && value !== null, "must be a record of tensors");
const compileOptions = z.strictObject({
  state: z.array(z.string().min(1)).default([]),
  initial: tree.optional(),
  constants: tree.optional(),
  opset: z.int().min(7).max(26).optional(),
  stepsPerRun: z.int().min(1).optional(),
  load: loadOptions.optional(),
});

const caller = "core-gpu.Device.compile";

/** Turns programs into runners on one device; runners of equal programs share a session of the runtime. */
export interface Compiler {
  compile(program: Program<unknown, unknown>, options: CompileOptions | undefined): Promise<Runner>;
  /** Releases all runners that are still open. */
  close(): Promise<void>;
}

interface Shared {
  readonly native: Promise<ort.InferenceSession>;
  users: number;
}

type Locations = NonNullable<Parameters<typeof createNative>[4]>["location"];

/** The state's next values stay on the card, all else comes to the host. */
function locations({ next, results }: StatePlan, { names: { outputs } }: Layout): Locations {
  const at = (place: "cpu" | "gpu-buffer") => (name: string) => [outputs.get(name)!, place] as const;
  return Object.fromEntries([
    ...[...next.keys()].map(at("gpu-buffer")),
    ...results.map(({ name }) => name).map(at("cpu")),
  ]);
}

/** What models for a device may count on, or must do without. */
async function runtimeOf(kind: Placement["kind"]): Promise<Pick<ProgramToModelOptions, "blocks" | "provider">> {
  if (kind === "webgpu") return { provider: kind };
  const blocks = kind === "cpu" ? await channelBlocks() : undefined;
  return blocks === undefined ? {} : { blocks };
}

/** Makes a compiler for one device. */
export function makeCompiler(placement: Placement): Compiler {
  const sessions = new Map<string, Shared>();
  const runners = new Set<Runner>();
  // The CUDA provider's binding for Node has no tensors on the device.
  const onCard = placement.kind === "webgpu";

  const acquire = (layout: Layout, load: CompileOptions["load"], location: Locations) => {
    const key = `${layout.key} ${JSON.stringify(load ?? {})}`;
    const shared: Shared = sessions.get(key) ?? {
      native: createNative(caller, placement, layout.bytes, load, {
        location,
        memoryPattern: false,
        idle: layout.idle,
      }),
      users: 0,
    };
    sessions.set(key, shared);
    shared.users++;
    const leave = async () => {
      if (--shared.users > 0) return;
      sessions.delete(key);
      await shared.native.then(
        (native) => native.release(),
        () => {},
      );
    };
    return { native: shared.native, leave };
  };

  return {
    compile: async (program, options) => {
      const parsed = parseOptions(caller, compileOptions, options);
      const { initial = {}, constants = {}, load } = (options ?? {}) as CompileOptions;
      const bound = flattenTree<object, Tensor>(caller, constants).map(({ name, leaf }) => [name, leaf] as const);
      const boundTensors = Object.fromEntries(bound);
      const plan = planState(caller, program, parsed.state, Object.keys(boundTensors));
      const first = checkState(caller, plan, initial);
      const { opset, stepsPerRun } = parsed;
      const stacked = stepsPerRun === undefined ? undefined : plannedSteps(plan, program);
      const loop = stacked && stepsPerRun ? { loop: { symbol: stacked.symbol, steps: stepsPerRun } } : {};
      const runtime = await runtimeOf(placement.kind);
      const layout = layOut(program, plan, { opset, constants, runtime, ...loop });
      const { native, leave } = acquire(layout, load, onCard ? locations(plan, layout) : undefined);
      let session: ort.InferenceSession;
      try {
        session = await native;
      } catch (error) {
        await leave();
        throw error;
      }
      const residence = onCard ? gpuResidence(placement, plan, layout.names) : hostResidence(plan, layout.names);
      residence.write(first);
      const runner = makeRunner(
        program,
        stacked?.plan ?? plan,
        layout.names,
        session,
        residence,
        stepsPerRun,
        stacked === undefined ? (fed) => findNotFinite(placement, program, { ...fed, ...boundTensors }) : undefined,
        async (done) => {
          runners.delete(done);
          await leave();
        },
      );
      runners.add(runner);
      return runner;
    },
    close: async () => {
      await Promise.all([...runners].map((runner) => runner.release()));
    },
  };
}
