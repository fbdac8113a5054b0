import { z } from "zod";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import { makeCompiler } from "./compile.ts";
import type { Device, DeviceKind, Diagnosis, Session } from "./device.ts";
import { diagnose } from "./diagnose.ts";
import { openSession } from "./session.ts";

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /** Threads a session computes with on the CPU; default: one per physical core (ONNX Runtime's choice). */
  readonly threads?: number;
}

const deviceOptions = z.strictObject({ threads: z.int().min(1).max(1024).optional() });

/**
 * Opens a device to run models on. Close it when done.
 *
 * `"auto"` takes the first that works of cuda, webgpu and cpu, passing over a WebGPU that is only emulated on the CPU;
 * `passedOver` of the result says why. A kind asked for by name is that one or an error: nothing is fallen back to.
 *
 * @throws InputError on an unknown kind or option, or when the device asked for does not work here (the message says
 * what is missing and what to type).
 * @example
 * ```ts
 * import { openDevice } from "@exitkit/core-gpu";
 * const device = await openDevice("cpu");
 * console.assert(device.kind === "cpu");
 * await device.close();
 * ```
 */
export async function openDevice(kind: DeviceKind | "auto" = "auto", options: DeviceOptions = {}): Promise<Device> {
  const caller = "core-gpu.openDevice";
  const kinds = ["auto", "cuda", "webgpu", "cpu"];
  if (!kinds.includes(kind)) throw new InputError(caller, `kind must be one of ${kinds.join(", ")}`, `"${kind}"`);
  const { threads } = parseOptions(caller, deviceOptions, options);
  if (kind === "auto") {
    const { chosen, passedOver } = await choose();
    return makeDevice(chosen, passedOver, threads);
  }
  // The CPU needs no probe: if it does not work, loading a model says so.
  const found = kind === "cpu" ? undefined : await diagnose(kind);
  if (found?.available === false) {
    const other = `Or open another device: openDevice("auto") takes the best that works.`;
    throw new InputError(
      caller,
      `device "${kind}" must work here`,
      found.reason,
      `Fix: ${found.fix ?? "none"}. ${other}`,
    );
  }
  return makeDevice(kind, [], threads);
}

async function choose(): Promise<{ chosen: DeviceKind; passedOver: readonly Diagnosis[] }> {
  const passedOver: Diagnosis[] = [];
  for (const kind of ["cuda", "webgpu"] as const) {
    const found = await diagnose(kind);
    if (found.available && !found.software) return { chosen: kind, passedOver };
    passedOver.push(found);
  }
  return { chosen: "cpu", passedOver };
}

function makeDevice(kind: DeviceKind, passedOver: readonly Diagnosis[], threads: number | undefined): Device {
  const sessions = new Set<Session>();
  const compiler = makeCompiler({ kind, threads });
  let closed = false;
  const checkOpen = (caller: string) => {
    if (closed) throw new InputError(caller, "the device must be open", "a closed one", "Open another.");
  };
  return {
    kind,
    passedOver,
    load: async (model, options) => {
      const caller = "core-gpu.Device.load";
      checkOpen(caller);
      const session = await openSession({ kind, threads }, model, options, (done) => sessions.delete(done));
      sessions.add(session);
      if (closed) await session.release();
      checkOpen(caller);
      return session;
    },
    compile: async (program, options) => {
      const caller = "core-gpu.Device.compile";
      checkOpen(caller);
      const runner = await compiler.compile(program, options);
      if (closed) await runner.release();
      checkOpen(caller);
      return runner;
    },
    close: async () => {
      closed = true;
      await Promise.all([...[...sessions].map((session) => session.release()), compiler.close()]);
    },
  };
}
