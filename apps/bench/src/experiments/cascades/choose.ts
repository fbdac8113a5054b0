import { generator, InputError, rows as rowsOf, tensor } from "@exitkit/core-gpu";
import {
  type CascadeChoice,
  cascadeRecord,
  chooseCascade,
  fitTemperature,
  type MeasuredMember,
  replay,
} from "@exitkit/early-exit";
import { argMaxRows, countRight, meanOf } from "../../measuring/answers.ts";
import { type Network, REFERENCE } from "./networks.ts";

/** Which networks may be joined, and what is to be little. */
export interface Family {
  readonly bits: 8 | 32;
  readonly answer: "own" | "averaged";
  /** MACs, or time in batches of 64 or one by one. */
  readonly objective: "macs" | "time64" | "time1";
}

export const FAMILIES: readonly Family[] = [
  { bits: 32, answer: "averaged", objective: "macs" },
  { bits: 8, answer: "averaged", objective: "time64" },
  { bits: 8, answer: "averaged", objective: "time1" },
];

/** What a network said and costs. */
export interface Measured {
  readonly network: Network;
  /** [n · 10] */
  readonly logits: Float32Array;
  /** Milliseconds a picture by batch size. */
  readonly times: { readonly 64: number; readonly 1: number };
  /** Milliseconds that a batch of 64 takes however few pictures it has. */
  readonly callMs: number;
}

/** A cascade chosen on each half and seen on the other. */
export interface Chosen {
  readonly family: Family;
  readonly wantedLoss: number;
  /** The choice made on the first half, on the second. */
  readonly choices: readonly [CascadeChoice, CascadeChoice];
  /** Of all pictures, what the choice made on the other half answers. */
  readonly answers: Int32Array;
  readonly accuracy: number;
  readonly macsFraction: number;
}

/**
 * Chooses on each half of the pictures, which members in which order at which thresholds, and reports on the other.
 *
 * @returns null where nothing at hand is as right as was asked for.
 */
export function choose(
  all: readonly Measured[],
  labels: Int32Array,
  family: Family,
  wantedLoss: number,
  seed: number,
): Chosen | null {
  const half = Math.floor(labels.length / 2);
  const parts = [
    [0, half],
    [half, 2 * half],
  ] as const;
  const own = all.filter(({ network }) => network.bits === family.bits);
  const reference = own.find(({ network }) => network.backbone === REFERENCE)!;
  const float = all.find(({ network }) => network.name === REFERENCE)!;
  const choose = ([from, to]: readonly [number, number]) => {
    const measured = {
      members: own.map((one) => memberOn(one, labels, from, to, family)),
      labels: labels.slice(from, to),
      batch: family.objective === "time1" ? 1 : 64,
    };
    // What may be lost of the float network's accuracy, as a loss of the reference in the same precision.
    const ahead = (rightOf(reference, labels, from, to) - rightOf(float, labels, from, to)) / (to - from);
    const maxAccuracyLoss = wantedLoss + ahead;
    const objective = family.objective === "macs" ? "macs" : "time";
    const { answer } = family;
    const options = {
      objective,
      maxAccuracyLoss,
      answer,
      reference: reference.network.name,
      random: generator(seed),
    } as const;
    return chooseCascade(measured, options).best;
  };
  let choices: readonly [CascadeChoice, CascadeChoice];
  try {
    choices = [choose(parts[0]), choose(parts[1])];
  } catch (error) {
    if (error instanceof InputError && wantedLoss < 0) return null;
    throw error;
  }
  const seen = choices.map(({ members, temperatures, thresholds }, fold) => {
    const [from, to] = parts[1 - fold]!;
    const joined = members.map((name, j) => {
      const one = all.find(({ network }) => network.name === name)!;
      return { ...memberOn(one, labels, from, to, family), logits: scaled(one.logits, from, to, temperatures[j]!) };
    });
    let sum = 0;
    const full = float.network.macs;
    const costs = { exits: joined.map(({ macs }) => (sum += macs)), full };
    return replay(cascadeRecord(joined, labels.slice(from, to), family.answer), thresholds, costs);
  });
  const answers = new Int32Array(2 * half);
  seen.forEach(({ predictions }, fold) => {
    answers.set(predictions, parts[1 - fold]![0]);
  });
  return {
    family,
    wantedLoss,
    choices,
    answers,
    accuracy: meanOf(seen.map(({ accuracy }) => accuracy)),
    macsFraction: meanOf(seen.map(({ costFraction }) => costFraction)),
  };
}

function memberOn(
  { network, logits, times, callMs }: Measured,
  labels: Int32Array,
  from: number,
  to: number,
  { objective }: Family,
): MeasuredMember {
  const own = tensor("float32", [labels.length, 10], logits);
  const temperature = fitTemperature(rowsOf(own, from, to), labels.slice(from, to));
  return {
    name: network.name,
    logits: scaled(logits, from, to, temperature),
    temperature,
    macs: network.macs,
    milliseconds: times[objective === "time1" ? 1 : 64],
    callMilliseconds: objective === "time1" ? 0 : callMs,
  };
}

function scaled(logits: Float32Array, from: number, to: number, temperature: number) {
  const data = logits.slice(from * 10, to * 10).map((value) => value / temperature);
  return tensor("float32", [to - from, 10], data);
}

function rightOf({ logits }: Measured, labels: Int32Array, from: number, to: number): number {
  return countRight(argMaxRows(logits.subarray(from * 10, to * 10), 10), labels.subarray(from, to));
}
