import { checkArguments } from "../arguments.ts";
import type { Device, LoadOptions, Session } from "../device/device.ts";
import { type ProgramToModelOptions, programToModel } from "./to-model.ts";
import type { Program } from "./trace.ts";

/**
 * Turns a program into a session that runs it: {@link programToModel}, then the device's `load`. Feeds and results have
 * the names of the program's inputs and outputs.
 *
 * @param options Those of `programToModel`; `load` goes to the device.
 * @throws InputError as `programToModel` and the device do.
 */
export function compileProgram(
  device: Device,
  program: Program<unknown, unknown>,
  options: ProgramToModelOptions & { readonly load?: LoadOptions } = {},
): Promise<Session> {
  checkArguments("core-gpu.compileProgram", { device: [device, "an open device"] });
  const { load, ...rest } = options;
  const provider = device.kind === "webgpu" ? { provider: device.kind } : {};
  return device.load(programToModel(program, { ...provider, ...rest }), load);
}
