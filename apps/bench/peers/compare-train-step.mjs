// The training steps of `bench run train-step` beside PyTorch's, in turn, on the same number of threads.
//
//     node apps/bench/peers/compare-train-step.mjs --python python3 [--models resnet20,vit] [--rounds 8] [--threads 2] [--json]
//
// Each network runs in a process of its own on either side; the two take turns of a few steps each, so that a busy machine
// slows both. The ratio is PyTorch's time ÷ ours, the median over rounds: above 1 we are faster. Peak memory is the largest
// resident size of each process. Build first (pnpm build); Python needs requirements.txt.
// @ts-check
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median, openSide, takeTurns } from "./turns.mjs";

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

/** @param {keyof typeof BATCHES} model */
async function compare(model) {
  const batch = BATCHES[model];
  const args = ["--model", model, "--batch", String(batch), "--threads", values.threads];
  const ours = await openSide(process.execPath, [here("./train-step.mjs"), ...args]);
  const theirs = await openSide(values.python, [here("./train_step.py"), ...args]);
  const sides = [ours, theirs];
  const measured = await takeTurns(sides, { turn: Number(values.turn), rounds: Number(values.rounds) });
  for (const side of sides) await side.close();
  const seconds = measured.map((one) => one.seconds);
  const last = measured.map((one) => one.last);
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
