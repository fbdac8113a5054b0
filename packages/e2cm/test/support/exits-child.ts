// What the drills of saved exits start and kill: `exits-child.ts save PATH A B [times]` saves the exits of A and of B in turn, for ever
// or so many times; `exits-child.ts load PATH A B times` loads what is there. Says when it is at work, and at the end what came of it.
import { loadExits, saveExits } from "../../src/index.ts";

const [mode, path, a, b, times] = process.argv.slice(2) as [string, string, string, string, string?];
const both = [await loadExits(a), await loadExits(b)] as const;
const metrics = both.map(({ exits }) => exits[0]!.metric);
let failed = 0;
process.stdout.write("at work\n");
const most = times === undefined ? Number.POSITIVE_INFINITY : Number(times);
for (let turn = 0; turn < most; turn++) {
  try {
    if (mode === "save") await saveExits(path, both[turn % 2]!);
    else if (!metrics.includes((await loadExits(path)).exits[0]!.metric)) failed++;
  } catch (error) {
    failed++;
    process.stderr.write(`${error}\n`);
  }
}
process.stdout.write(`${JSON.stringify({ failed })}\n`);
