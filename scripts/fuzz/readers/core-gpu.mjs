import { writeFileSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, from } from "./places.mjs";

export async function targets(folder) {
  const core = await from("packages/core-gpu/src/index.ts");
  const { claimFolder, readModel, readSafetensors, tensor, training, writeSafetensors } = core;
  const onnx = [
    "onnx/control-flow",
    "onnx/types",
    "onnx/dtypes",
    "onnx/external-data",
    "odd/plain",
    "odd/fp16",
    "odd/qop",
    "odd/vit",
  ];
  const models = onnx.map((name) => bytesOf(`packages/core-gpu/fixtures/${name}.onnx`));
  const tensors = [
    writeSafetensors({ a: tensor("float32", [2, 3]), b: tensor("int64", [4]), c: tensor("bool", [5]) }, { note: "x" }),
    writeSafetensors({ weight: tensor("float32", [64, 8]) }),
    bytesOf("packages/e2cm/fixtures/saved-1/saved-1-shared.safetensors"),
  ];
  const manifest = await checkpoint(core, join(folder, "run"));
  const claimed = join(folder, "claimed");
  await mkdir(claimed);
  const owner = { host: "elsewhere", pid: 12, started: "boot 34", claim: "0123456789abcdef" };
  return [
    { name: "readModel", seeds: models, read: (bytes) => readModel(bytes) },
    { name: "readModel, then its inspection without a run", seeds: models, read: (bytes) => looked(core, bytes) },
    { name: "readSafetensors", seeds: tensors, read: (bytes) => readSafetensors(bytes) },
    {
      name: "training.readCheckpoint",
      seeds: [await readFile(manifest)],
      read: async (bytes) => {
        writeFileSync(manifest, bytes);
        await training.readCheckpoint(join(manifest, ".."));
      },
    },
    {
      name: "claimFolder: what another run left",
      // Half of a claim is none: the folder is taken over.
      accepts: true,
      seeds: [Buffer.from(JSON.stringify(owner)), Buffer.from(JSON.stringify({ ...owner, host: "" }))],
      read: async (bytes) => {
        writeFileSync(join(claimed, ".owner.json"), bytes);
        await (await claimFolder("fuzz", claimed)).release();
      },
    },
  ];
}

/** What is done with every model before it is run. */
function looked(core, bytes) {
  const model = core.readModel(bytes);
  core.describeModel(model);
  core.identifyModel(model);
  core.proposeCuts(model);
  core.writeModel(model);
}

/** A checkpoint of a run of one step, made with the package itself. @returns Its manifest. */
async function checkpoint(core, folder) {
  const { openDevice, ops, spec, tensor, trace, training, generator } = core;
  const device = await openDevice("cpu", { threads: 1 });
  const step = trace(({ w, x }) => ({ loss: ops.mean(x), w: ops.add(w, 1) }), {
    w: spec("float32", []),
    x: spec("float32", ["n"]),
  });
  const runner = await device.compile(step, { state: ["w"], initial: { w: tensor("float32", []) } });
  const data = training.tensorDataset({ x: tensor("float32", [2]) });
  await training.train({ runner, data, batchSize: 2, epochs: 1, generator: generator(1), checkpoint: { folder } });
  await device.close();
  const [name] = (await readdir(folder)).filter((entry) => entry.startsWith("step-"));
  return join(folder, name, "checkpoint.json");
}
