// Runs the contract on WebGPU and prints what is wrong, for a test that starts it under a chosen driver.
import { compileProgram, openDevice } from "../../src/index.ts";
import { contract, faults, opsetOf, webgpuFault, webgpuTolerance } from "../contract-support.ts";
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
const known: Record<string, { wrong: number; right: number }> = {};
let right = 0;
for (const [family, cases] of contract) {
  const sound = cases.filter((test) => webgpuFault(test) === null);
  const found = await run(sound);
  wrong.push(...found.map((fault) => `${family}: ${fault}`));
  right += sound.length;
  for (const test of cases) {
    const fault = webgpuFault(test);
    if (fault === null) continue;
    known[fault] ??= { wrong: 0, right: 0 };
    known[fault][(await run([test])).length > 0 ? "wrong" : "right"]++;
  }
}
await device.close();
process.stdout.write(`\nREPORT${JSON.stringify({ right, wrong, known })}\n`);
