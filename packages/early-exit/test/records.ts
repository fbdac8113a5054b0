import { type Generator, generator } from "@exitkit/core-gpu";
import type { ExitCosts, ExitRecord } from "../src/index.ts";

/**
 * A record like a real network's: every sample has a difficulty, later exits are abler, confidences are calibrated but
 * noisy. `grain` > 0 rounds confidences to that many levels, to make ties.
 */
export function syntheticRecord(
  n: number,
  e: number,
  seed: number,
  options: { grain?: number; noise?: number } = {},
): ExitRecord {
  const random: Generator = generator(seed);
  const { grain = 0, noise = 0.8 } = options;
  const confidences = Array.from({ length: e }, () => new Float32Array(n));
  const predictions = Array.from({ length: e }, () => new Int32Array(n));
  const labels = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const difficulty = random.normal();
    const wander = random.normal() * 0.5;
    labels[i] = random.integer(10);
    for (let j = 0; j < e; j++) {
      const ability = -0.2 + (2.6 * (j + 1)) / e;
      const margin = 1.6 * (ability - difficulty) + wander + noise * random.normal();
      const p = 1 / (1 + Math.exp(-margin));
      const rightly = random.uniform() < p;
      predictions[j]![i] = rightly ? labels[i]! : (labels[i]! + 1 + random.integer(9)) % 10;
      const said = 1 / (1 + Math.exp(-(margin + noise * random.normal())));
      confidences[j]![i] = grain > 0 ? Math.round(said * grain) / grain : said;
    }
  }
  return { exits: Array.from({ length: e }, (_, j) => `exit${j}`), n, confidences, predictions, labels };
}

/** Evenly spaced costs with 2 % overhead an exit. */
export function syntheticCosts(e: number): ExitCosts {
  return {
    exits: Array.from({ length: e }, (_, j) => 1_000_000 * (j + 1) + 20_000 * Math.min(j + 1, e - 1)),
    full: 1_000_000 * e,
  };
}
