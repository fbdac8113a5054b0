import { z } from "zod";
import type { CompileOptions, Runner } from "../device/runner.ts";
import { checkState, planState } from "../device/state.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import type { Program } from "../program/trace.ts";
import { flattenTree } from "../program/tree.ts";
import type { Tensor } from "../tensor.ts";
import { checkNodeBinding } from "./node-binding.ts";
import { makeTfjsRunner } from "./runner.ts";
import type { Tfjs, TfjsModule } from "./tfjs.ts";

/** Runs programs with tfjs. Must be closed. */
export interface TfjsDevice {
  /** `tfjs:` and the name of the back end that was active when the device was made: `tfjs:wasm`, `tfjs:tensorflow`. */
  readonly kind: `tfjs:${string}`;
  /**
   * Makes a program ready to run. Its state stays in tfjs.
   *
   * @throws InputError on unknown options, as `Device.compile` does, where an operator has no kernel for tfjs or a value is
   * float64.
   */
  compile(
    program: Program<unknown, unknown>,
    options?: Pick<CompileOptions, "state" | "initial" | "constants">,
  ): Promise<Runner>;
  /** Releases all runners that are still open. Closing twice is allowed. */
  close(): Promise<void>;
}

const tree = z.custom<object>((value) => typeof value === "object" && value !== null, "must be a record of tensors");
const compileOptions = z.strictObject({
  state: z.array(z.string().min(1)).default([]),
  initial: tree.optional(),
  constants: tree.optional(),
});

/**
 * A device that computes programs, operator by operator, with a tfjs that the caller has loaded: an independent second
 * reading of the same program, and a way to CUDA through `@tensorflow/tfjs-node-gpu`.
 *
 * Set tfjs's back end first and leave it. tfjs has neither int64 (int32 is used; what does not fit is refused where it
 * comes in) nor float64 (refused). Tensors do not leak: after `close` tfjs has as many as before.
 *
 * `tfjs-node-gpu` 4.22 works with Node 18 to 22 and CUDA 11.2 with cuDNN 8.1.
 *
 * @param module The module `@tensorflow/tfjs`, `@tensorflow/tfjs-core` with a back end, `@tensorflow/tfjs-node` or
 * `@tensorflow/tfjs-node-gpu`.
 * @throws InputError where it is none of those, has no back end, or is a native one that this Node is too new for.
 * @example
 * ```ts
 * import "@tensorflow/tfjs-backend-cpu";
 * import * as tf from "@tensorflow/tfjs-core";
 * import { ops, spec, tensor, tfjsDevice, trace } from "@exitkit/core-gpu";
 * await tf.setBackend("cpu");
 * const device = tfjsDevice(tf);
 * const program = trace(({ x }) => ({ y: ops.relu(x) }), { x: spec("float32", ["n"]) });
 * const runner = await device.compile(program);
 * const { y } = await runner.run({ x: tensor("float32", [2], [-1, 1]) });
 * console.assert(y?.data[0] === 0 && y.data[1] === 1);
 * await device.close();
 * ```
 */
export function tfjsDevice(module: TfjsModule): TfjsDevice {
  const caller = "core-gpu.tfjsDevice";
  const tf = module as unknown as Tfjs;
  const backend = backendOf(caller, tf);
  checkNodeBinding(caller, backend);
  const runners = new Set<Runner>();
  let closed = false;
  return {
    kind: `tfjs:${backend}`,
    compile: async (program, options) => {
      const caller = "core-gpu.TfjsDevice.compile";
      if (closed) throw new InputError(caller, "the device must be open", "a closed one", "Make another.");
      const { state } = parseOptions(caller, compileOptions, options);
      const { initial = {}, constants = {} } = options ?? {};
      const bound = new Map(
        flattenTree<object, Tensor>(caller, constants).map(({ name, leaf }) => [name, leaf] as const),
      );
      const plan = planState(caller, program, state, [...bound.keys()]);
      const first = checkState(caller, plan, initial);
      const runner = makeTfjsRunner({ caller, tf, backend, program, plan, bound, first }, (done) =>
        runners.delete(done),
      );
      runners.add(runner);
      return runner;
    },
    close: async () => {
      closed = true;
      await Promise.all([...runners].map((runner) => runner.release()));
    },
  };
}

function backendOf(caller: string, tf: Tfjs): string {
  const fix = 'Pass the module itself: tfjsDevice(tf) after `import * as tf from "@tensorflow/tfjs"`.';
  if (typeof tf?.getBackend !== "function" || typeof tf.tidy !== "function") {
    throw new InputError(caller, "tf must be a tfjs module", tf === null ? "null" : typeof tf, fix);
  }
  const backend = tf.getBackend() as string | undefined;
  if (backend) return backend;
  const ready = 'await tf.setBackend("cpu") or another that is imported, and tf.ready().';
  throw new InputError(caller, "tfjs must have a back end", "none that is ready", ready);
}
