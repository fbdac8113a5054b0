// Trains the tiny network in a process of its own, which a test kills: `killed-child.js folder seed`. Says when it is ready,
// and prints a hash of all that the run gave when it is done.
import { createHash } from "node:crypto";
import { generator, openDevice, training } from "../../src/index.ts";
import { compileTiny, jitter, points } from "./tiny.ts";

const [folder, seed] = process.argv.slice(2) as [string, string];
const device = await openDevice("cpu");
const runner = await compileTiny(device);
process.stdout.write("ready\n");
const collected = createHash("sha256");
const result = await training.train({
  runner,
  data: points(jitter),
  batchSize: 5,
  epochs: 20,
  generator: generator(Number(seed)),
  learningRate: (update) => 0.02 / (1 + update / 10),
  collect: ["losses", "logits"],
  earlyStop: { metric: "loss", patience: 20 },
  onEpoch: ({ epoch, collected: given }) => {
    if (epoch < 19) return;
    for (const { data } of Object.values(given!.outputs)) collected.update(new Uint8Array(data.buffer));
  },
  checkpoint: { folder, everySteps: 1 },
  resume: true,
});
const hash = createHash("sha256");
for (const [name, { data }] of Object.entries(await runner.readState())) {
  hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}
const { stopped, steps, history, best } = result;
hash.update(JSON.stringify({ stopped, steps, history, best }));
process.stdout.write(`done ${steps} ${hash.digest("hex")}\n`);
await device.close();
