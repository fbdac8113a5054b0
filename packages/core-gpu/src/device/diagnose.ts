import type { DeviceKind, Diagnosis } from "./device.ts";
import { explain } from "./explain.ts";
import { lookAround } from "./machine.ts";
import { probe } from "./probe.ts";

/** Milliseconds a probe may take; the first use of a graphics card can take several seconds. */
const patience = 60_000;

const known = new Map<DeviceKind, Promise<Diagnosis>>();

/** Diagnoses one device, once per process. */
export function diagnose(kind: DeviceKind): Promise<Diagnosis> {
  let answer = known.get(kind);
  if (answer === undefined) {
    answer = probe(kind, patience).then((seen) => explain(kind, seen, lookAround()));
    known.set(kind, answer);
  }
  return answer;
}

/**
 * Finds out which devices work on this machine, by running a small network on each in a child process (a broken
 * graphics driver can take its process down). The answers are kept for the life of the process.
 *
 * @returns One diagnosis for each kind, the fastest kind first: cuda, webgpu, cpu. Devices that do not work say what
 * is missing and what to type.
 * @example
 * ```ts
 * import { diagnoseDevices } from "@exitkit/core-gpu";
 * const cpu = (await diagnoseDevices()).find(({ kind }) => kind === "cpu");
 * console.assert(cpu?.available);
 * ```
 */
export function diagnoseDevices(): Promise<readonly Diagnosis[]> {
  return Promise.all((["cuda", "webgpu", "cpu"] as const).map(diagnose));
}
