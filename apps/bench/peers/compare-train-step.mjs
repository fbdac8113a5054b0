// The training steps of `bench run train-step` beside PyTorch's, in turn, on the same number of threads.
//
//     node apps/bench/peers/compare-train-step.mjs --python python3 [--models resnet20,vit] [--rounds 8] [--threads 2] [--json]
//
// Each network runs in a process of its own on either side; the two take turns of a few steps each, so that a busy machine
// slows both. The ratio is PyTorch's time ÷ ours, the median over rounds: above 1 we are faster. Peak memory is the largest
// resident size of each process. Build first (pnpm build); Python needs requirements.txt.
// @ts-check
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const BATCHES = { resnet20: 128, resnet56: 128, vit: 64, decoder: 4 };
const here = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    models: { type: "string", default: Object.keys(BATCHES).join(",") },
    rounds: { type: "string", default: "8" },
    /** Seconds of one turn. */
    turn: { type: "string", default: "2" },
    threads: { type: "string", default: String(availableParallelism()) },
    json: { type: "boolean", default: false },
  },
});

/**
 * A process that runs so many steps for every line it gets.
 * @param {string} command
 * @param {readonly string[]} args
 */
async function peer(command, args) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => child.on("close", resolve));
  const failed = new Promise((_, reject) => child.on("error", reject));
  const next = async () => {
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) throw new Error(`${command} ended early; see its message above`);
    return JSON.parse(value);
  };
  return {
    ready: await next(),
    run: (/** @type {number} */ steps) => {
      child.stdin.write(`${steps}\n`);
      return next();
    },
    close: () => {
      child.stdin.end();
      return ended;
    },
  };
}

const median = (/** @type {number[]} */ list) => {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
};

/** @param {keyof typeof BATCHES} model */
async function compare(model) {
  const batch = BATCHES[model];
  const args = ["--model", model, "--batch", String(batch), "--threads", values.threads];
  const ours = await peer(process.execPath, [here("./train-step.mjs"), ...args]);
  const theirs = await peer(values.python, [here("./train_step.py"), ...args]);
  const sides = [ours, theirs];
  const steps = [];
  for (const side of sides) {
    await side.run(2);
    steps.push(Math.max(1, Math.round(Number(values.turn) / (await side.run(1)).seconds)));
  }
  /** @type {number[][]} */
  const seconds = [[], []];
  const last = [{ peakBytes: 0 }, { peakBytes: 0 }];
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
      last[side] = await sides[side].run(steps[side]);
      seconds[side].push(last[side].seconds / steps[side]);
    }
  }
  for (const side of sides) await side.close();
  const [mine, torch] = seconds.map(median);
  return {
    model,
    batch,
    threads: Number(values.threads),
    runtimes: sides.map(({ ready }) => ready.runtime),
    imagesPerSecond: batch / mine,
    peerImagesPerSecond: batch / torch,
    ratio: median(seconds[1].map((time, round) => time / seconds[0][round])),
    peakMiB: Math.round(last[0].peakBytes / 2 ** 20),
    peerPeakMiB: Math.round(last[1].peakBytes / 2 ** 20),
    memoryRatio: last[0].peakBytes / last[1].peakBytes,
    stepMemoryRatio: (last[0].peakBytes - ours.ready.idleBytes) / (last[1].peakBytes - theirs.ready.idleBytes),
    rounds: seconds[0].length,
  };
}

const rows = [];
for (const model of values.models.split(",")) {
  if (!Object.hasOwn(BATCHES, model))
    throw new Error(`unknown model ${model}; known: ${Object.keys(BATCHES).join(", ")}`);
  const row = await compare(/** @type {keyof typeof BATCHES} */ (model));
  rows.push(row);
  if (values.json) continue;
  process.stdout.write(
    `${model}, batch ${row.batch}, ${row.threads} threads: ${row.imagesPerSecond.toFixed(1)}/s, ` +
      `${row.runtimes[1]} ${row.peerImagesPerSecond.toFixed(1)}/s, ratio ${row.ratio.toFixed(2)}; ` +
      `peak memory ${row.peakMiB} and ${row.peerPeakMiB} MiB, ratio ${row.memoryRatio.toFixed(2)}, ` +
      `without what each runtime takes idle ${row.stepMemoryRatio.toFixed(2)}\n`,
  );
}
if (values.json) process.stdout.write(`${JSON.stringify({ comparison: "train-step", rows })}\n`);
