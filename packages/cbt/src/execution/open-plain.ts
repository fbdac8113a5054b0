import {
  compileProgram,
  type Device,
  openDevice,
  parseOptions,
  type RuntimeTensor,
  type Tensor,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { deviceOption } from "../exits/pixel-exits.ts";
import { checkNetwork, type SegmentationNetwork } from "./network.ts";
import { plainProgram } from "./programs.ts";
import { classesOf } from "./segment-frame.ts";

/** A segmentation network without exits, answered as a segmenter is: what it is compared with. Must be released. */
export interface PlainSegmenter {
  /** MACs of a frame. */
  readonly macs: number;
  /** Classes uint8 [1, h', w'] of one frame float32 [1, c, h', w']. */
  segment(frame: Tensor | RuntimeTensor): Promise<Tensor<"uint8">>;
  /** Frees what was loaded. */
  release(): Promise<void>;
}

/**
 * Opens the network in one piece, its exits left out.
 *
 * @throws InputError on what is no network, or unknown options.
 */
export async function openPlain(
  network: SegmentationNetwork,
  options: { readonly device?: Device } = {},
): Promise<PlainSegmenter> {
  const caller = "cbt.openPlain";
  const { device: lent } = parseOptions(caller, z.strictObject({ device: deviceOption }), options);
  checkNetwork(caller, network);
  const { program, cost } = plainProgram(caller, network);
  const device = lent ?? (await openDevice("auto"));
  const session = await compileProgram(device, program);
  return {
    macs: cost.fixed,
    segment: async (frame) => {
      const data = classesOf(await session.run({ frame }), network);
      return { dtype: "uint8", shape: [1, network.frame[1], network.frame[2]], data };
    },
    release: async () => {
      await session.release();
      if (lent === undefined) await device.close();
    },
  };
}
