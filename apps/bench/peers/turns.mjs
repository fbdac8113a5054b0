// Processes that run training steps on demand, a few steps each in turn, so that a busy machine slows all of them alike.
// @ts-check
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/**
 * What a process prints first, and after every turn.
 * @typedef {{ runtime: string; idleBytes: number; flops?: number }} Ready
 * @typedef {{ seconds: number; loss: number; peakBytes: number }} Turn
 * @typedef {{ ready: Ready; run(steps: number): Promise<Turn>; close(): Promise<unknown> }} Side
 */

/**
 * Starts a process that runs so many steps for every line it gets.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {Record<string, string | undefined>} [env]
 * @returns {Promise<Side>}
 */
export async function openSide(command, args, env = process.env) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => child.on("close", resolve));
  const failed = new Promise((_, reject) => child.on("error", reject));
  // Unheard until somebody waits for a line.
  failed.catch(() => {});
  child.stdin.on("error", () => {});
  const next = async () => {
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) throw new Error(`${command} ${args[0]} ended early; see its message above`);
    return JSON.parse(value);
  };
  return {
    ready: await next(),
    run: (steps) => {
      child.stdin.write(`${steps}\n`);
      return next();
    },
    close: () => {
      child.stdin.end();
      return ended;
    },
  };
}

/**
 * Lets the sides take turns of as many steps as fit into `turn` seconds, each round in the other order.
 *
 * @param {readonly Side[]} sides
 * @param {{ turn: number; rounds: number }} plan
 * @returns For each side the seconds of a step in every round, and what it said after the first two steps and the last turn.
 */
export async function takeTurns(sides, { turn, rounds }) {
  const measured = [];
  for (const side of sides) {
    const first = await side.run(1);
    const second = await side.run(1);
    const { seconds } = await side.run(1);
    measured.push({
      steps: Math.max(1, Math.round(turn / seconds)),
      first,
      second,
      last: second,
      seconds: /** @type {number[]} */ ([]),
    });
  }
  const order = sides.map((side, index) => ({ side, mine: measured[index] }));
  for (let round = 0; round < rounds; round++) {
    for (const { side, mine } of order) {
      mine.last = await side.run(mine.steps);
      mine.seconds.push(mine.last.seconds / mine.steps);
    }
    order.reverse();
  }
  return measured;
}

/** @param {readonly number[]} list */
export function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
