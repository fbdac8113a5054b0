import { type Device, openDevice } from "@exitkit/core-gpu";
import type { Context } from "../experiments/experiment.ts";

/** Works on the device the command line names; notes say which better ones were passed over and why. */
export async function onDevice<T>(
  { device: kind, progress }: Pick<Context, "device" | "progress">,
  work: (device: Device) => Promise<T>,
): Promise<T> {
  const device = await openDevice(kind);
  try {
    for (const { kind: other, reason } of device.passedOver) progress.note(`not on ${other}: ${reason}`);
    return await work(device);
  } finally {
    await device.close();
  }
}
