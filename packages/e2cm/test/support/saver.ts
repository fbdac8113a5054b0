// Saves two sets of exits in turn at one path until it is killed: node saver.ts PATH A B
import { loadExits, saveExits } from "../../src/index.ts";

const [path, a, b] = process.argv.slice(2) as [string, string, string];
const both = [await loadExits(a), await loadExits(b)] as const;
for (let turn = 0; ; turn++) {
  await saveExits(path, both[turn % 2]!);
  if (turn === 0) process.stdout.write("saving\n");
}
