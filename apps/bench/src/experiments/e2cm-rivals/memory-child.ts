// Fits one method on few pictures and prints the process's largest resident set in bytes: `memory-child <job.json>`.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { openDevice, readSafetensorsFile } from "@exitkit/core-gpu";
import { oneBatch } from "../../data/batches.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { fitClassMeans, isClassMeans, meansAt } from "./class-means.ts";
import type { MemoryJob } from "./memory.ts";
import { type Material, rivalNetwork } from "./network.ts";
import { DISTANCES, takesDistances, tapsOf, trainedRival, trainRivals } from "./trained.ts";

const job = JSON.parse(await readFile(process.argv[2]!, "utf8")) as MemoryJob;
const { method, shape, normalisation, augmentation, batch } = job;
const { tensors } = await readSafetensorsFile(job.pictures);
const labels = tensors.labels!.data as Int32Array;
const train: Pictures = { n: labels.length, shape, pixels: tensors.pixels!.data as Uint8Array, labels };
const device = await openDevice(job.device);
const network = await rivalNetwork(device, job.depth, (await readSafetensorsFile(job.weights)).tensors, shape);
const material: Material = { device, network, train, normalisation, augmentation, batch };
if (method === "plain") {
  const session = await device.load(network.folded.model);
  for (const from of [0, batch]) {
    const { x } = oneBatch(slicePictures(train, from, Math.min(train.n, from + batch)), normalisation);
    if (x.shape[0]! > 0) await session.run({ [network.folded.input]: x });
  }
} else if (isClassMeans(method)) await fitClassMeans(material, method, null);
else {
  const means = takesDistances(method) ? await meansAt(material, tapsOf(network, method), DISTANCES[method]) : [];
  await trainRivals(material, [await trainedRival(material, method, means)], { seed: 1, epochs: 1 });
}
process.stdout.write(`${1024 * largestResidentSet()}\n`);
await device.close();

/** In kilobytes. On Linux the usage that a process reports begins with its parent's, so there the kernel's mark of its own is read. */
function largestResidentSet(): number {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS;
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);
}
