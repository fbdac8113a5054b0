import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";
import { createRequire } from "node:module";
import * as core from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Tensor, type TfjsDevice, tfjsDevice } from "../src/index.ts";
import { operators } from "../src/program/ops/operators.ts";
import { kernels } from "../src/tfjs/kernels/index.ts";
import { type Compute, check, contract } from "./contract-support.ts";

core.env().set("IS_TEST", true);

// Another tfjs, as `@tensorflow/tfjs-node-gpu`, takes part where EXITKIT_TFJS holds the path of its folder.
const other = process.env.EXITKIT_TFJS;
const builds: [string, () => Promise<typeof core>][] = ["cpu", "wasm"].map((backend) => [
  backend,
  async () => {
    await core.setBackend(backend);
    return core;
  },
]);
if (other === undefined)
  process.stdout.write("contract on tfjs-node: skipped, EXITKIT_TFJS does not name its folder\n");
else builds.push([other, async () => createRequire(import.meta.url)(other) as typeof core]);

describe.each(builds)("tfjs on %s against PyTorch", (name, load) => {
  let tf: typeof core;
  let device: TfjsDevice;
  let before: number;
  const skipped = new Map<string, number>();
  beforeAll(async () => {
    tf = await load();
    before = tf.memory().numTensors;
    device = tfjsDevice(tf);
  }, 60_000);
  afterAll(async () => {
    await device.close();
    const lines = [...skipped].map(([reason, count]) => `  ${count} cases skipped: ${reason}\n`);
    const count = contract.reduce((sum, [, cases]) => sum + cases.length, 0);
    process.stdout.write(`contract on ${device.kind}: ${count} cases\n${lines.join("") || "  nothing skipped\n"}`);
  });

  const compute: Compute = async (program, feeds) => {
    const runner = await device.compile(program);
    try {
      return await runner.run(feeds);
    } finally {
      await runner.release();
    }
  };

  it.each(contract)("%s", { timeout: 60_000 }, async (_, cases) => {
    const wrong: string[] = [];
    for (const test of cases) {
      for (const symbolic of test.symbols === undefined ? [false] : [false, true]) {
        try {
          wrong.push(...(await check(compute, test, symbolic)));
        } catch (error) {
          const missing = /Kernel '(\w+)' not registered for backend/.exec(String(error))?.[1];
          if (missing === undefined) {
            wrong.push(`ops.${test.op} ${JSON.stringify(test.args)}, case ${cases.indexOf(test)}: ${error}`);
            continue;
          }
          const reason = `ops.${test.op} needs tfjs's kernel ${missing}, which ${name} has not`;
          skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

it("the contract can fail: a wrong element, shape, dtype or gradient is found", async () => {
  await core.setBackend("cpu");
  const device = tfjsDevice(core);
  const [, cases] = contract.find(([family]) => family === "arithmetic")!;
  const test = cases.find(({ op }) => op === "mul")!;
  const found = async (change: (results: Record<string, Tensor>) => Record<string, Tensor>) =>
    check(async (program, feeds) => {
      const runner = await device.compile(program);
      return change(await runner.run(feeds));
    }, test);
  const nudged = (name: string) => (results: Record<string, Tensor>) => {
    (results[name]!.data as Float32Array)[1]! += 1e-3;
    return results;
  };
  expect(await found((results) => results)).toEqual([]);
  expect(await found(nudged("outputs.0.0"))).toEqual([expect.stringMatching(/^ops\.mul .* result 0 is 0\.000/)]);
  expect(await found(nudged("gradients.0.1"))).toEqual([expect.stringMatching(/^ops\.mul .* gradient 1 is 0\.000/)]);
  const flat = (results: Record<string, Tensor>) => {
    const result = results["outputs.0.0"]!;
    return { ...results, "outputs.0.0": { ...result, shape: [result.data.length] } as Tensor };
  };
  expect(await found(flat)).toEqual([expect.stringContaining("result 0 is float32 [6], not float32 [2,3]")]);
  await device.close();
});

it("every operator has a kernel, and every kernel an operator", () => {
  expect(Object.keys(kernels).sort()).toEqual(operators.map(({ name }) => name).sort());
});
