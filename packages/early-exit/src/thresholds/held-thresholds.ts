import { InputError } from "@exitkit/core-gpu";

/** e − 1 thresholds as the float32 a running network holds. @throws InputError on another number of them, or NaN. */
export function heldThresholds(caller: string, e: number, thresholds: readonly number[]): Float32Array {
  if (thresholds?.length !== e - 1) {
    const expectation = `${e} exits need ${e - 1} thresholds, none for the last`;
    throw new InputError(caller, expectation, `${thresholds?.length}`);
  }
  const held = new Float32Array(thresholds.length);
  for (let j = 0; j < held.length; j++) {
    const threshold = thresholds[j];
    if (typeof threshold !== "number" || Number.isNaN(threshold)) {
      throw new InputError(caller, "every threshold must be a number", `${threshold} at exit ${j}`);
    }
    held[j] = threshold;
  }
  return held;
}
