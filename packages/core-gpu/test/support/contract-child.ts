// Runs the contract on WebGPU and prints what is wrong, for a test that starts it under a chosen driver.
import { compileProgram, openDevice } from "../../src/index.ts";
import { contract, faults, opsetOf, webgpuTolerance } from "../contract-support.ts";
import { type GradientCase, gradientFeeds, gradientProgram } from "../gradients-support.ts";

const device = await openDevice("webgpu");

/** One session for many cases: opening one takes longer than running it. */
async function run(cases: readonly GradientCase[]): Promise<readonly string[]> {
  try {
    const session = await compileProgram(device, gradientProgram(cases), { opset: opsetOf(cases) });
    const results = await session.run(gradientFeeds(cases));
    await session.release();
    return faults(cases, results, webgpuTolerance);
  } catch (error) {
    return [String(error)];
  }
}

const wrong: string[] = [];
let count = 0;
for (const [family, cases] of contract) {
  const found = await run(cases);
  wrong.push(...found.map((fault) => `${family}: ${fault}`));
  count += cases.length;
}
await device.close();
process.stdout.write(`\nREPORT${JSON.stringify({ cases: count, wrong })}\n`);
