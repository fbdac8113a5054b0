import type { Model, TensorInfo } from "../onnx/model.ts";
import type { Program } from "../program/trace.ts";
import type { RuntimeTensor, Tensor } from "../tensor.ts";
import type { CompileOptions, Runner } from "./runner.ts";

/** The execution providers this package knows: ONNX Runtime's CPU, WebGPU and CUDA ones. */
export type DeviceKind = "cpu" | "webgpu" | "cuda";

/** Whether a device works on this machine, found by really running a small network on it. Plain data. */
export interface Diagnosis {
  readonly kind: DeviceKind;
  /** True when a small network ran on the device and gave the right numbers. */
  readonly available: boolean;
  /** True when the device works but is emulated on the CPU (SwiftShader, llvmpipe): `auto` passes it over. */
  readonly software: boolean;
  /** One sentence: what runs there, or what is missing. */
  readonly reason: string;
  /** What to install or type so that it works, or `null` when nothing needs doing. */
  readonly fix: string | null;
}

/** How a model is loaded onto a device. */
export interface LoadOptions {
  /**
   * Keep the session's threads spinning between runs: a little faster when one session is run back to back, but the
   * spinning threads take the cores away from every other session that is alive. Default false.
   */
  readonly spin?: boolean;
  /** ONNX Runtime's graph optimisation level. Default `"all"`; `"none"` runs the graph as written. */
  readonly optimization?: "none" | "basic" | "extended" | "all";
}

/** What one run asks for. */
export interface RunOptions {
  /** Names of the outputs to compute; default all. */
  readonly outputs?: readonly string[];
  /**
   * Tensors the outputs of these names are written into; the result holds these very tensors. Their dtype and shape
   * must be what the model gives. Reusing buffers saves the first touch of fresh memory.
   */
  readonly into?: Readonly<Record<string, Tensor>>;
}

/** A model loaded on a device, ready to run. Must be released, or closed with its device. */
export interface Session {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** What its caller should know, a sentence each: that a Loop or Scan of the model may never end. Mostly empty. */
  readonly notes: readonly string[];
  /**
   * Runs the model once. Feeds pass by reference, views into larger buffers included. On the CPU the run blocks the
   * event loop until it is done.
   *
   * @param feeds One tensor for every input, by name; ONNX Runtime's own will do.
   * @returns One tensor for every output asked for, by name.
   * @throws InputError on a missing or unknown name, a dtype, rank or fixed dimension that is not the model's, a
   * released session, or when ONNX Runtime refuses to run (its message is quoted).
   */
  run(feeds: Readonly<Record<string, Tensor | RuntimeTensor>>, options?: RunOptions): Promise<Record<string, Tensor>>;
  /** Frees the session's memory and threads. Releasing twice is allowed. */
  release(): Promise<void>;
}

/** Something models run on. Must be closed. */
export interface Device {
  readonly kind: DeviceKind;
  /** Why `auto` did not take a better device; empty when the kind was asked for by name. */
  readonly passedOver: readonly Diagnosis[];
  /**
   * Loads an ONNX model (or the bytes of an ONNX file).
   *
   * A run has no deadline: a model with Loop or Scan decides itself how long it takes, and one made so holds the process for
   * ever. The session's `notes` name such nodes; run a model from elsewhere in a process of its own.
   *
   * @throws InputError when ONNX Runtime refuses the model (its message is quoted), on an unknown option, or when the
   * device is closed.
   */
  load(model: Model | Uint8Array, options?: LoadOptions): Promise<Session>;
  /**
   * Compiles a program whose state (parameters, an optimiser's moments) stays with the device between runs. A program that
   * was compiled before in this process, or one traced from the same function, is not written as a model again.
   *
   * @throws InputError on an unknown option or name, state that does not fit the program, as `programToModel` does, when
   * the runtime refuses the program, or when the device is closed.
   * @example
   * ```ts
   * import { openDevice, ops, spec, tensor, trace } from "@exitkit/core-gpu";
   * const count = trace(({ total, x }) => ({ total: ops.add(total, ops.sum(x)), mean: ops.mean(x) }), {
   *   total: spec("float32", []),
   *   x: spec("float32", ["n"]),
   * });
   * const device = await openDevice("cpu");
   * const runner = await device.compile(count, { state: ["total"], initial: { total: tensor("float32", [], [0]) } });
   * await runner.run({ x: tensor("float32", [2], [1, 2]) });
   * await runner.run({ x: tensor("float32", [3], [3, 4, 5]) });
   * console.assert((await runner.readState()).total?.data[0] === 15);
   * await device.close();
   * ```
   */
  compile(program: Program<unknown, unknown>, options?: CompileOptions): Promise<Runner>;
  /** Releases all sessions and runners that are still open. Closing twice is allowed. */
  close(): Promise<void>;
}
