// Our side of compare-train-step.mjs: prints a JSON line when ready, then runs as many steps as each line of standard input
// says and prints {"seconds", "loss", "peakBytes"}.
// @ts-check
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { openDevice } from "@exitkit/core-gpu";
import { openStep } from "../dist/experiments/train-step/step-runner.js";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "resnet20" },
    batch: { type: "string", default: "128" },
    threads: { type: "string", default: "1" },
    device: { type: "string", default: "cpu" },
  },
});

/** Largest resident size of this process so far; null where the system does not say. */
function peakBytes() {
  try {
    const line = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"));
    return line === null ? null : Number(line[1]) * 1024;
  } catch {
    return null;
  }
}

const idleBytes = peakBytes();
const kind = /** @type {"cpu"} */ (values.device);
const device = await openDevice(kind, { threads: Number(values.threads) });
const runner = await openStep(device, /** @type {"resnet20"} */ (values.model), Number(values.batch));
const { parameters, nodes, flops, compileSeconds } = runner;
const print = (/** @type {object} */ value) => process.stdout.write(`${JSON.stringify(value)}\n`);
print({
  runtime: `exitkit on ${device.kind}`,
  threads: Number(values.threads),
  idleBytes,
  parameters,
  nodes,
  flops,
  compileSeconds,
});
for await (const line of createInterface({ input: process.stdin })) {
  const begun = performance.now();
  let loss = Number.NaN;
  for (let step = 0; step < Number(line); step++) loss = await runner.step();
  print({ seconds: (performance.now() - begun) / 1000, loss, peakBytes: peakBytes() });
}
await device.close();
