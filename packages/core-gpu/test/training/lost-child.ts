// Trains on WebGPU in a process of its own and loses the device in the middle, for a test that starts it under a chosen driver:
// `lost-child.ts folder how`, where `how` is "memory" (a batch whose pairs no buffer of the card can hold) or "killed"
// (the process ends, as a crashing driver ends it). Prints the error, if it can.
import { generator, openDevice, tensor, training } from "../../src/index.ts";
import { compilePairs, points } from "./tiny.ts";

const [folder, how] = process.argv.slice(2) as [string, "memory" | "killed"];
const device = await openDevice("webgpu");
const data = points();
// Their products are 4 GiB; WebGPU's buffers hold 1 GiB on SwiftShader and 4 GiB less one on the largest cards.
const rows = 2 ** 15;
let batches = 0;
const huge: training.Dataset = {
  size: data.size,
  batch: (indices, random) =>
    // Once before the first step, to know the data by.
    how === "memory" && batches++ === 8
      ? { x: tensor("float32", [rows, 4]), y: tensor("int64", [rows]) }
      : data.batch(indices, random),
};
const error: unknown = await training
  .train({
    runner: await compilePairs(device),
    data: huge,
    batchSize: 5,
    epochs: 4,
    generator: generator(3),
    prefetch: 0,
    checkpoint: { folder, everySteps: 2 },
    onStep: ({ step }) => {
      if (how === "killed" && step === 6) process.kill(process.pid, "SIGKILL");
    },
  })
  .then(
    () => undefined,
    (reason: unknown) => reason,
  );
const { name, message, step, checkpoint } = error as training.TrainingError;
process.stdout.write(`\nREPORT${JSON.stringify({ name, message, step, checkpoint })}\n`);
process.exit(0);
