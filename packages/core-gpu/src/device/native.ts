import * as ort from "onnxruntime-node";
import { z } from "zod";
import { clipped, InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import type { DType, Tensor } from "../tensor.ts";
import type { DeviceKind, LoadOptions } from "./device.ts";

/** Schema of {@link LoadOptions}. */
export const loadOptions = z.strictObject({
  spin: z.boolean().default(false),
  optimization: z.enum(["none", "basic", "extended", "all"]).default("all"),
});

/** Where a session runs. */
export interface Placement {
  readonly kind: DeviceKind;
  readonly threads: number | undefined;
}

/** What compiled programs ask of a session beyond {@link LoadOptions}. */
interface SessionNeeds {
  /** Where outputs stay, by their names: on the device (`gpu-buffer`) or on the host (`cpu`). Default: the host. */
  readonly location?: Readonly<Record<string, "cpu" | "gpu-buffer">> | undefined;
  /**
   * Lay all intermediate tensors out in one block planned from the first run. Default true. A training step's are many and
   * large: without the plan its peak is a third to a half lower, at the same speed (docs/performance.md).
   */
  readonly memoryPattern?: boolean;
  /** Optimisations to leave out, with semicolons between. Default: none. */
  readonly idle?: string;
}

/**
 * Makes an ONNX Runtime session.
 *
 * @throws InputError when the runtime refuses the model, or on an unknown option.
 */
export async function createNative(
  caller: string,
  placement: Placement,
  bytes: Uint8Array,
  options: LoadOptions | undefined,
  { location, memoryPattern = true, idle = "" }: SessionNeeds = {},
): Promise<ort.InferenceSession> {
  const { spin, optimization } = parseOptions(caller, loadOptions, options);
  try {
    return await ort.InferenceSession.create(bytes, {
      executionProviders: [placement.kind],
      graphOptimizationLevel: optimization === "none" ? "disabled" : optimization,
      // Errors come as exceptions; a GPU driver's messages come as log lines only.
      logSeverityLevel: placement.kind === "cpu" ? 4 : 3,
      ...(placement.threads === undefined ? {} : { intraOpNumThreads: placement.threads }),
      enableMemPattern: memoryPattern,
      extra: {
        ...(spin ? {} : { session: { force_spinning_stop: "1" } }),
        ...(idle === "" ? {} : { optimization: { disable_specified_optimizers: idle } }),
      },
      ...(location === undefined ? {} : { preferredOutputLocation: location }),
    });
  } catch (error) {
    const fix = "Check the model's operators and its operator set version.";
    throw runtimeError(caller, `ONNX Runtime must accept the model on ${placement.kind}`, error, fix);
  }
}

/** A host tensor as the runtime's, sharing the data. */
export function toNative(value: Tensor): ort.Tensor {
  return new ort.Tensor(value.dtype as "float32", value.data as Float32Array, value.shape);
}

/** The runtime's tensor, which must lie on the host, as ours, sharing the data. */
export function fromNative(value: ort.Tensor): Tensor {
  return { dtype: value.type as DType, shape: [...value.dims], data: value.data } as Tensor;
}

/** An error of the runtime, quoted. */
export function runtimeError(caller: string, expectation: string, error: unknown, fix: string): InputError {
  const message = (error instanceof Error ? error.message : String(error)).trim().replaceAll(/\s+/g, " ");
  return new InputError(caller, expectation, `"${clipped(message, 400)}"`, fix, error);
}
