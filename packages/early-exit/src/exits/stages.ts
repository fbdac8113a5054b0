import { addTaps, cutStages, InputError, type Model, onnx, type Stage } from "@exitkit/core-gpu";
import type { Exit, ExitModel } from "./exits.ts";
import { onlyOutputs } from "./outputs.ts";

/** The network cut behind its exits: stage j ends when exit j has answered. */
export interface ExitStages {
  /** The network with the exits' answers as its only outputs. */
  readonly model: Model;
  /** `[e]` */
  readonly stages: readonly Stage[];
  /** `[e − 1]`: tensors made up to stage j (or the network's input) that some later stage reads. */
  readonly carried: readonly (readonly string[])[];
}

/** Cuts a network into one stage for each exit. Throws InputError when the exits do not allow it. */
export function cutAtExits(caller: string, { model, exits, input }: ExitModel): ExitStages {
  const early = exits.slice(0, -1);
  const answering = answersOnly(model, exits);
  const cuts = early.map(({ tap, confidence, prediction }) => [...new Set([tap, confidence, prediction])]);
  const stages = cutStages(answering, cuts);
  stages.forEach(({ outputs }, j) => {
    const { name, confidence, prediction } = exits[j]!;
    const elsewhere = [confidence, prediction].find((tensor) => !outputs.includes(tensor));
    if (elsewhere === undefined) return;
    const expectation = `exit "${name}" must answer after the exit in front of it`;
    const actual = `${onnx.quoted(elsewhere)}, which does not need what lies between the two exits`;
    throw new InputError(caller, expectation, actual, "Give the exits in the order of the backbone.");
  });
  const last = exits.at(-1)!;
  const before = stages.slice(0, -1).findIndex(({ model }) => makes(model, last.tap));
  if (before >= 0) {
    const expectation = `exit "${last.name}", given last, must read what lies behind all other exits`;
    const actual = `tap ${onnx.quoted(last.tap)}, which is made up to exit "${exits[before]!.name}"`;
    throw new InputError(caller, expectation, actual, "Give the exits in the order of the backbone.");
  }
  const made = stages.map(({ outputs }, j) => (j === 0 ? [input, ...outputs] : outputs));
  const carried = early.map((_, j) => {
    const later = new Set(stages.slice(j + 1).flatMap(({ inputs }) => inputs));
    return made
      .slice(0, j + 1)
      .flat()
      .filter((name) => later.has(name));
  });
  return { model: answering, stages, carried };
}

function makes(model: Model, name: string): boolean {
  return model.proto.graph!.node.some(({ output }) => output.includes(name));
}

function answersOnly(model: Model, exits: readonly Exit[]): Model {
  const wanted = [...new Set(exits.flatMap(({ confidence, prediction }) => [confidence, prediction]))];
  return onlyOutputs(addTaps(model, wanted), wanted);
}
