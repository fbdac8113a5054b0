// Runs in the unpacked archive of gpu-archive.mjs: which graphics card is found, whether it computes rightly, and how fast
// networks are trained on it. Needs nothing but the archive's own files.
// @ts-check
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { coreScript, findDevice, findTorch, LOG, vulkanEnvironment } from "./machine.mjs";
import { runScript } from "./processes.mjs";
import { timeSteps } from "./steps.mjs";

const BATCHES = { resnet20: 128, resnet56: 128, vit: 64, decoder: 4 };

const HELP = `./run [options]

Finds the graphics card through WebGPU (Vulkan), compares every operator's results and gradients with PyTorch's, and times
training steps on the card, on the CPU and on this machine's PyTorch where it has one. Prints tables, then one line of JSON.
Ends with 0 when WebGPU works and nothing is wrong.

  --quick             small batches and short turns: minutes even on a card that is emulated
  --devices <list>    of webgpu, cpu (default: both)
  --models <list>     of ${Object.keys(BATCHES).join(", ")} (default: all; with --quick resnet20 and vit)
  --batch <number>    rows of a batch (default: ${Object.values(BATCHES).join(", ")}; with --quick 1)
  --rounds <number>   turns of every side (default: 8; with --quick 2)
  --turn <seconds>    length of a turn (default: 2; with --quick 0, a step)
  --threads <number>  of the CPU (default: ${availableParallelism()})
  --python <command>  a Python that may have PyTorch (default: python3)
  --no-contract       no comparison of the operators
  --no-peers          no PyTorch

Where no adapter is found, ${LOG} has what the Vulkan loader tried; VK_DRIVER_FILES=<the driver's .json> names the driver.
`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    help: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    devices: { type: "string", default: "webgpu,cpu" },
    models: { type: "string" },
    batch: { type: "string" },
    rounds: { type: "string" },
    turn: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
    python: { type: "string", default: "python3" },
    contract: { type: "boolean", default: true },
    peers: { type: "boolean", default: true },
  },
});
const { quick, threads, python } = values;
const models = among("models", Object.keys(BATCHES), values.models ?? (quick ? "resnet20,vit" : undefined));
const wanted = among("devices", ["webgpu", "cpu"], values.devices);
const plan = {
  turn: figure("turn", values.turn ?? (quick ? "0" : "2"), 0),
  rounds: figure("rounds", values.rounds ?? (quick ? "2" : "8"), 1),
};
const env = vulkanEnvironment();

if (values.help) process.stdout.write(HELP);
else process.exitCode = await main();

/** @returns {Promise<number>} The exit status. */
async function main() {
  /** @type {string[]} */
  const problems = [];
  say("looking for devices ...");
  const device = await findDevice(env);
  const using = wanted.filter((kind) => kind !== "webgpu" || device.available);
  if (using.length < wanted.length) {
    problems.push(`WebGPU does not work here: ${device.reason}. Fix: ${device.fix ?? "none"}. See ${LOG}.`);
  }
  print("Device");
  table([
    ["WebGPU", `${device.available ? "" : "does not work: "}${device.reason}`],
    ["adapter", device.adapter === null ? "not told by the Vulkan loader" : `${device.adapter} (${device.driver})`],
    ["nvidia-smi", device.nvidia ?? "not there"],
    ["processor", `${device.processor}, ${threads} threads`],
    ["versions", `Node ${device.node}, ONNX Runtime ${device.onnxruntime}`],
  ]);

  print("\nResults and gradients of every operator on WebGPU against PyTorch's");
  const contract = await checkContract(using);
  problems.push(...contract.problems);
  table(contract.lines);

  const torch = values.peers ? await findTorch(python) : { devices: [], reason: "--no-peers" };
  const rows = [];
  for (const model of models) {
    say(`timing ${model} ...`);
    const usual = BATCHES[/** @type {keyof typeof BATCHES} */ (model)];
    const batch = figure("batch", values.batch ?? String(quick ? 1 : usual), 1);
    const timed = await timeSteps({ model, batch, threads, python, devices: using, peers: torch.devices, plan }, env);
    rows.push(...timed.rows);
    problems.push(...timed.problems);
  }
  print(`\nTraining steps, medians of ${plan.rounds} turns`);
  table([
    ["network", "batch", "on", "a step", "a second", "GFLOP/s", "× PyTorch", ""],
    ...rows.map((row) => [
      row.model,
      String(row.batch),
      row.runtime,
      `${row.stepMs.toFixed(1)} ms`,
      row.imagesPerSecond.toFixed(1),
      row.gflops?.toFixed(1) ?? "",
      row.ratio?.toFixed(2) ?? "",
      row.against === null ? "" : `of ${row.against}`,
    ]),
  ]);
  print(
    torch.reason === null
      ? "  × PyTorch: its time ÷ ours. It runs as it comes: on NVIDIA cards with TF32 in convolutions."
      : `  without PyTorch: ${torch.reason}`,
  );

  print(problems.length === 0 ? "\nNothing is wrong.\n" : `\n${problems.map((line) => `PROBLEM ${line}\n`).join("")}`);
  const found = { ...device, threads: Number(threads) };
  print(JSON.stringify({ experiment: "gpu-check", quick, device: found, contract: contract.result, rows, problems }));
  return problems.length === 0 ? 0 : 1;
}

/** @param {readonly string[]} using */
async function checkContract(using) {
  const without = !values.contract ? "--no-contract" : !using.includes("webgpu") ? "not on WebGPU" : null;
  if (without !== null) return { lines: [["skipped", without]], problems: [], result: { skipped: without } };
  say("comparing operators ...");
  const { report, log, ended } = await runScript(coreScript("contract-child"), env);
  if (report === undefined) {
    const died = `the comparison ended with ${ended}: ${log.trim().split("\n").at(-1)}`;
    return { lines: [["died", ended]], problems: [died], result: { died } };
  }
  /** @type {{ cases: number; wrong: string[] }} */
  const { cases, wrong } = report;
  return {
    lines: [["compared", `${cases} cases, ${wrong.length} values wrong`]],
    problems: wrong.map((fault) => `wrong on WebGPU: ${fault}`),
    result: { compared: cases, wrong },
  };
}

/**
 * @param {string} option
 * @param {readonly string[]} known
 * @param {string} [list]
 */
function among(option, known, list = known.join()) {
  const chosen = list.split(",");
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--${option}: of ${known.join(", ")}; got "${unknown}"`);
  return chosen;
}

/**
 * @param {string} option
 * @param {string} text
 * @param {number} least
 */
function figure(option, text, least) {
  const value = Number(text);
  if (!(value >= least)) throw new Error(`--${option}: a number ≥ ${least}; got "${text}"`);
  return value;
}

/** @param {string} text */
function print(text) {
  process.stdout.write(`${text}\n`);
}

/** @param {string} text */
function say(text) {
  process.stderr.write(`${text}\n`);
}

/** @param {readonly (readonly string[])[]} rows */
function table(rows) {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) print(`  ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join("  ")}`.trimEnd());
}
