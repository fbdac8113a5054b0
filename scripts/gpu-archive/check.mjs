// Runs in the unpacked archive of gpu-archive.mjs: which graphics card is found, whether it computes rightly, and how fast
// networks are trained on it. Node and the archive's own files are all it needs.
// @ts-check
import { execFile, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { delimiter, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { median, openSide, takeTurns } from "./bench/peers/turns.mjs";

const BATCHES = { resnet20: 128, resnet56: 128, vit: 64, decoder: 4 };
const help = `./run [options]

Finds the graphics card through WebGPU (Vulkan), compares every operator's results and gradients with PyTorch's, times
training steps on the card and on the CPU, and on this machine's PyTorch where it has one. Prints tables, then one line
of JSON. Ends with 0 when WebGPU works and nothing is wrong.

  --quick             small batches and short turns: minutes even on a card that is emulated
  --devices <list>    of webgpu, cpu (default: both)
  --models <list>     of ${Object.keys(BATCHES).join(", ")} (default: all; with --quick resnet20 and decoder)
  --batch <number>    rows of a batch (default: ${Object.values(BATCHES).join(", ")}; with --quick 2)
  --rounds <number>   turns of every side (default: 8; with --quick 2)
  --turn <seconds>    length of a turn (default: 2; with --quick 0)
  --threads <number>  of the CPU (default: ${availableParallelism()})
  --python <command>  a Python that may have PyTorch (default: python3)
  --no-contract       no comparison of the operators
  --no-peers          no PyTorch

Where no adapter is found: VK_DRIVER_FILES=<the driver's .json> names the Vulkan driver, and VK_LOADER_DEBUG=all with
./node devices.mjs prints what the Vulkan loader tries.
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
const { quick } = values;
const models = (values.models ?? (quick ? "resnet20,decoder" : Object.keys(BATCHES).join())).split(",");
const devices = values.devices.split(",");
const plan = { turn: Number(values.turn ?? (quick ? 0 : 2)), rounds: Number(values.rounds ?? (quick ? 2 : 8)) };
const here = (/** @type {string} */ name) => join(import.meta.dirname, name);
const core = here("node_modules/@exitkit/core-gpu");
const env = vulkan();
/** Second losses may differ by this much, relative to the CPU's. */
const CLOSE = 1e-3;
/** @type {string[]} */
const problems = [];
const print = (/** @type {string} */ text) => process.stdout.write(`${text}\n`);
const say = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);

if (values.help) {
  process.stdout.write(help);
} else {
  const device = await findDevice();
  const contract = await checkContract(device.available);
  const rows = await measure(device.available);
  print("");
  for (const problem of problems) print(`PROBLEM ${problem}`);
  print(problems.length === 0 ? "Nothing is wrong.\n" : "");
  print(JSON.stringify({ experiment: "gpu-check", quick, device, contract, rows, problems }));
  process.exitCode = problems.length === 0 ? 0 : 1;
}

/** The environment in which a Vulkan driver is found that lies where containers are given it, and a loader where there is none. */
function vulkan() {
  const changed = { ...process.env };
  const named = changed.VK_DRIVER_FILES ?? changed.VK_ICD_FILENAMES;
  const usual = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"].flatMap(listed);
  const mounted = listed("/usr/local/nvidia/share/vulkan/icd.d");
  if (named === undefined && !usual.some((name) => /nvidia/.test(name)) && mounted.length > 0) {
    changed.VK_DRIVER_FILES = mounted.join(delimiter);
  }
  const folders = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];
  const given = (changed.LD_LIBRARY_PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  if (![...given, ...folders].some((folder) => existsSync(join(folder, "libvulkan.so.1")))) {
    changed.LD_LIBRARY_PATH = [...given, here("lib")].join(delimiter);
  }
  return changed;
}

/** @param {string} folder */
function listed(folder) {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

async function findDevice() {
  say("looking for devices ...");
  const { out, log } = await runScript(here("devices.mjs"), [], { ...env, VK_LOADER_DEBUG: "all" });
  /** @type {{ kind: string; available: boolean; software: boolean; reason: string; fix: string | null }[]} */
  const diagnoses = reportIn(out) ?? [];
  const webgpu = diagnoses.find(({ kind }) => kind === "webgpu");
  // The loader tells the adapter that a Vulkan device was made on; older loaders do not.
  const [, adapter = null, driver = null] = [...log.matchAll(/Using "(.+?)" with driver: "(.+?)"/g)].at(-1) ?? [];
  const card = await firstLine("nvidia-smi", ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]);
  const runtime = JSON.parse(readFileSync(here("node_modules/onnxruntime-node/package.json"), "utf8")).version;
  const found = {
    available: webgpu?.available === true,
    software: webgpu?.software === true,
    adapter,
    driver,
    nvidia: card,
    processor: cpus()[0]?.model ?? "unknown",
    threads: Number(values.threads),
    node: process.versions.node,
    onnxruntime: runtime,
    reason: webgpu?.reason ?? "the process that looked for devices died",
  };
  print("Device");
  table([
    ["WebGPU", `${found.available ? "works" : "does not work"}: ${found.reason}`],
    ["adapter", adapter === null ? "not told by this Vulkan loader" : `${adapter} (${driver})`],
    ["nvidia-smi", card ?? "not there"],
    ["processor", `${found.processor}, ${values.threads} threads`],
    ["versions", `Node ${found.node}, ONNX Runtime ${runtime}`],
  ]);
  if (!found.available && devices.includes("webgpu")) {
    problems.push(`WebGPU does not work here: ${found.reason}. Fix: ${webgpu?.fix ?? "none"}`);
  }
  return found;
}

/** @param {boolean} available */
async function checkContract(available) {
  print("\nResults and gradients of every operator on WebGPU against PyTorch's");
  const reason = !values.contract ? "--no-contract" : available ? null : "WebGPU does not work here";
  if (reason !== null) {
    print(`  skipped: ${reason}`);
    return { skipped: reason };
  }
  say("comparing operators ...");
  const begun = performance.now();
  const { out, log, code } = await runScript(join(core, "test/support/contract-child.js"), [], env);
  /** @type {{ right: number; wrong: string[]; known: Record<string, { wrong: number; right: number }> } | undefined} */
  const report = reportIn(out);
  if (report === undefined) {
    problems.push(`the comparison died (${code}): ${log.trim().split("\n").at(-1)}`);
    return { died: String(code) };
  }
  const { right, wrong, known } = report;
  const skipped = Object.entries(known).map(([fault, count]) => ({ fault, ...count }));
  table([
    [
      "compared",
      `${right} cases in ${((performance.now() - begun) / 1000).toFixed(0)} s, ${wrong.length} of their values wrong`,
    ],
    ...skipped.map((one) => [
      "skipped",
      `${one.wrong + one.right} cases: ${one.fault} (${one.wrong} of them wrong here)`,
    ]),
  ]);
  for (const fault of wrong) problems.push(`wrong on WebGPU: ${fault}`);
  return { compared: right, wrong, skipped };
}

/**
 * Training steps of every network on every side in turn.
 * @param {boolean} available
 */
async function measure(available) {
  const torch = await findTorch();
  const ours = devices.filter((kind) => kind !== "webgpu" || available);
  print(`\nTraining steps, ${plan.rounds} turns each, medians`);
  if (!torch.found) print(`  without PyTorch: ${torch.reason}`);
  else print("  PyTorch runs as it comes, on NVIDIA cards with TF32 in convolutions.");
  const rows = [];
  for (const model of models) {
    if (!Object.hasOwn(BATCHES, model))
      throw new Error(`unknown model ${model}; known: ${Object.keys(BATCHES).join(", ")}`);
    const batch = Number(values.batch ?? (quick ? 2 : BATCHES[/** @type {"vit"} */ (model)]));
    say(`timing ${model} ...`);
    rows.push(...(await measureModel(model, batch, ours, torch.devices)));
  }
  const figure = (/** @type {number | null} */ value, digits = 1) => (value === null ? "" : value.toFixed(digits));
  table([
    ["network", "batch", "on", "a step", "a second", "GFLOP/s", "× PyTorch", "on"],
    ...rows.map((row) => [
      row.model,
      String(row.batch),
      row.runtime,
      `${row.stepMs.toFixed(1)} ms`,
      figure(row.imagesPerSecond),
      figure(row.gflops),
      figure(row.ratio, 2),
      row.against ?? "",
    ]),
  ]);
  return rows;
}

/**
 * @param {string} model
 * @param {number} batch
 * @param {readonly string[]} ours
 * @param {readonly string[]} theirs
 */
async function measureModel(model, batch, ours, theirs) {
  const args = ["--model", model, "--batch", String(batch), "--threads", values.threads];
  const wanted = [
    ...ours.map((device) => ({
      device,
      peer: false,
      command: process.execPath,
      script: here("bench/peers/train-step.mjs"),
    })),
    ...theirs.map((device) => ({
      device,
      peer: true,
      command: values.python,
      script: here("bench/peers/train_step.py"),
    })),
  ];
  const open = [];
  for (const one of wanted) {
    const name = `${model} on ${one.peer ? "PyTorch, " : ""}${one.device}`;
    try {
      const side = await openSide(one.command, [one.script, ...args, "--device", one.device], env);
      open.push({ ...one, name, side: guarded(side, name) });
    } catch (error) {
      problems.push(`${name} does not start: ${error}`);
    }
  }
  const measured = await takeTurns(
    open.map(({ side }) => side),
    plan,
  );
  await Promise.all(open.map(({ side }) => side.close()));
  const flops = open.find(({ peer }) => !peer)?.side.ready.flops ?? null;
  const sides = open
    .map((one, at) => ({ ...one, ...measured[at], stepMs: 1000 * median(measured[at]?.seconds ?? []) }))
    .filter(({ stepMs }) => Number.isFinite(stepMs));
  const cpu = sides.find(({ peer, device }) => !peer && device === "cpu");
  return sides.map((one) => {
    if (cpu !== undefined && !one.peer && !(Math.abs(one.second.loss / cpu.second.loss - 1) <= CLOSE)) {
      problems.push(`${one.name}: the loss after a step is ${one.second.loss}, on the CPU ${cpu.second.loss}`);
    }
    const peers = one.peer ? [] : sides.filter(({ peer }) => peer);
    const rival = peers.find(({ device }) => (device === "cpu") === (one.device === "cpu")) ?? peers[0];
    return {
      model,
      batch,
      device: one.device,
      runtime: one.side.ready.runtime,
      imagesPerSecond: (1000 * batch) / one.stepMs,
      gflops: flops === null ? null : flops / one.stepMs / 1e6,
      stepMs: one.stepMs,
      lossAfterOneStep: one.second.loss,
      ratio: rival === undefined ? null : median(rival.seconds.map((time, round) => time / one.seconds[round])),
      against: rival === undefined ? null : rival.side.ready.runtime,
    };
  });
}

/**
 * A side that, once dead, says so and lets the others go on.
 * @param {import("../../apps/bench/peers/turns.mjs").Side} side
 * @param {string} name
 */
function guarded(side, name) {
  let dead = false;
  return {
    ...side,
    run: async (/** @type {number} */ steps) => {
      try {
        if (!dead) return await side.run(steps);
      } catch (error) {
        dead = true;
        problems.push(`${name} died: ${error}`);
      }
      return { seconds: Number.NaN, loss: Number.NaN, peakBytes: Number.NaN };
    },
  };
}

/** Whether there is a PyTorch, and what it runs on. */
async function findTorch() {
  if (!values.peers) return { found: false, reason: "--no-peers", devices: [] };
  const cuda = await firstLine(values.python, ["-c", "import torch; print(torch.cuda.is_available())"]);
  if (cuda === null)
    return { found: false, reason: `${values.python} -c "import torch" does not work here`, devices: [] };
  return { found: true, reason: null, devices: cuda === "True" ? ["cuda", "cpu"] : ["cpu"] };
}

/**
 * What a command prints first; null where it does not work.
 * @param {string} command
 * @param {readonly string[]} args
 */
async function firstLine(command, args) {
  try {
    return (await promisify(execFile)(command, args)).stdout.trim().split("\n").at(-1) ?? null;
  } catch {
    return null;
  }
}

/**
 * @param {string} script
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Promise<{ out: string; log: string; code: number | string | null }>}
 */
function runScript(script, args, environment) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, ...args], { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let log = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      log += chunk;
    });
    child.on("close", (code, signal) => resolve({ out, log, code: signal ?? code }));
  });
}

/** @param {string} out */
function reportIn(out) {
  const line = out.split("\n").find((text) => text.startsWith("REPORT"));
  return line === undefined ? undefined : JSON.parse(line.slice("REPORT".length));
}

/** @param {readonly (readonly string[])[]} rows */
function table(rows) {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows)
    print(
      `  ${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}`,
    );
}
