// A run of 30 steps that a test kills: `killed-run.ts <folder>`. Prints every step that is computed, not reused.
import { openRun } from "../src/runs/run.ts";
import { createProgress } from "../src/terminal/progress.ts";

const progress = createProgress({ write: (text) => process.stderr.write(text) });
const run = await openRun(process.argv[2]!, { experiment: "killed", seed: 1 }, progress);
let total = 0;
for (let index = 0; index < 30; index++) {
  const { values } = await run.step(`step-${index}`, async () => {
    await run.metric({ index });
    process.stdout.write(`${index}\n`);
    return { values: Float64Array.from({ length: 20_000 }, (_, at) => Math.sin(at * (index + 1))) };
  });
  total += values.reduce((sum, value) => sum + value, 0);
}
await run.finish({ total });
