import { InputError } from "@exitkit/core-gpu";
import { checkRecord } from "../records/record.ts";
import type { Gates } from "./gate.ts";
import type { LogitsRecord } from "./record-logits.ts";

/** @throws InputError unless the record is one, with logits of n samples and k ≥ 2 classes for every exit. */
export function checkLogits(caller: string, record: LogitsRecord): void {
  checkRecord(caller, record);
  const { exits, n, classes, logits } = record;
  if (!Number.isSafeInteger(classes) || classes < 2) {
    throw new InputError(caller, "a record of logits must have k ≥ 2 classes", `${classes}`, "Use recordLogits.");
  }
  const wrong = exits.findIndex((_, j) => !(logits?.[j] instanceof Float32Array && logits[j].length === n * classes));
  if (wrong < 0 && logits.length === exits.length) return;
  const expectation = `logits must have a Float32Array of ${n} · ${classes} for each of the ${exits.length} exits`;
  throw new InputError(
    caller,
    expectation,
    `${logits?.length} rows, that of exit ${wrong} among them`,
    "Use recordLogits.",
  );
}

/** @throws InputError unless the gates were fitted for these exits and this many classes. */
export function checkGates(caller: string, gates: Gates, exits: readonly string[], classes: number): void {
  const same = gates.exits.length === exits.length && exits.every((name, j) => name === gates.exits[j]);
  if (!same || gates.gates.length !== exits.length - 1 || gates.classes !== classes) {
    const expectation = `gates of the exits ${exits.join(", ")} and ${classes} classes`;
    throw new InputError(
      caller,
      expectation,
      `${gates.exits.join(", ")} and ${gates.classes}`,
      "Fit them with fitGates.",
    );
  }
}
