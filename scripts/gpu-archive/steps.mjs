// Times training steps for check.mjs.
// @ts-check
import { median, openSide, takeTurns } from "../../apps/bench/peers/turns.mjs";
import { inArchive } from "./machine.mjs";

/** Losses may differ by this much between devices, relative to the larger of 1 and the CPU's. */
const CLOSE = 1e-3;

/**
 * Trains one network on several devices in turn, each in a process of its own.
 *
 * @param {object} options
 * @param {string} options.model
 * @param {number} options.batch
 * @param {string} options.threads
 * @param {string} options.python
 * @param {readonly string[]} options.devices Where we run.
 * @param {readonly string[]} options.peers Where PyTorch runs.
 * @param {{ turn: number; rounds: number }} options.plan
 * @param {NodeJS.ProcessEnv} env
 */
export async function timeSteps({ model, batch, threads, python, devices, peers, plan }, env) {
  const script = (/** @type {string} */ name) => inArchive(`apps/bench/peers/${name}`);
  const wanted = [
    ...devices.map((device) => ({ device, peer: false, command: process.execPath, file: script("train-step.mjs") })),
    ...peers.map((device) => ({ device, peer: true, command: python, file: script("train_step.py") })),
  ];
  /** @type {string[]} */
  const problems = [];
  const open = [];
  for (const one of wanted) {
    const name = `${model} on ${one.peer ? "PyTorch, " : ""}${one.device}`;
    const args = ["--model", model, "--batch", String(batch), "--threads", threads, "--device", one.device];
    try {
      const side = await openSide(one.command, [one.file, ...args], env);
      open.push({ ...one, name, side: guarded(side, (error) => problems.push(`${name} died: ${error}`)) });
    } catch (error) {
      problems.push(`${name} does not start: ${error}`);
    }
  }
  const turns = await takeTurns(
    open.map(({ side }) => side),
    plan,
  );
  await Promise.all(open.map(({ side }) => side.close()));
  const sides = open
    .map((one, at) => ({ ...one, turns: turns[at], stepMs: 1000 * median(turns[at].seconds) }))
    .filter(({ stepMs }) => Number.isFinite(stepMs));
  const ours = sides.filter(({ peer }) => !peer);
  const cpu = ours.find(({ device }) => device === "cpu");
  for (const { name, turns } of ours) {
    for (const step of /** @type {const} */ (["first", "second"])) {
      const [here, there] = [turns[step].loss, (cpu?.turns ?? turns)[step].loss];
      if (!(Math.abs(here - there) <= CLOSE * Math.max(1, Math.abs(there)))) {
        problems.push(`${name}: the loss of the ${step} step is ${here}, on the CPU ${there}`);
      }
    }
  }
  const flops = ours[0]?.side.ready.flops;
  const rows = sides.map(({ device, peer, side, turns, stepMs }) => {
    const others = sides.filter((other) => !peer && other.peer);
    const rival = others.find((other) => (other.device === "cpu") === (device === "cpu")) ?? others[0];
    return {
      model,
      batch,
      device,
      runtime: side.ready.runtime,
      imagesPerSecond: (1000 * batch) / stepMs,
      gflops: flops === undefined ? null : flops / stepMs / 1e6,
      stepMs,
      losses: [turns.first.loss, turns.second.loss],
      /** PyTorch's time ÷ ours, and where PyTorch ran. */
      ratio: rival === undefined ? null : median(rival.turns.seconds.map((time, at) => time / turns.seconds[at])),
      against: rival?.side.ready.runtime ?? null,
    };
  });
  return { rows, problems };
}

/**
 * A side that, once dead, says so and lets the others go on.
 *
 * @param {import("../../apps/bench/peers/turns.mjs").Side} side
 * @param {(error: unknown) => void} died
 */
function guarded(side, died) {
  let dead = false;
  return {
    ...side,
    run: async (/** @type {number} */ steps) => {
      try {
        if (!dead) return await side.run(steps);
      } catch (error) {
        dead = true;
        died(error);
      }
      return { seconds: Number.NaN, loss: Number.NaN, peakBytes: Number.NaN };
    },
  };
}
