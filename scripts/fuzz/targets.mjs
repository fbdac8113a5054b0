import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("../../", import.meta.url);
const bytesOf = (path) => readFile(new URL(path, root));

/**
 * The readers of everything that comes from outside, with valid files to begin from.
 *
 * @param core `@exitkit/core-gpu`.
 * @param e2cm `@exitkit/e2cm`.
 */
export async function targets(core, e2cm) {
  const expected = (error) => error instanceof core.InputError;
  const onnx = await Promise.all(
    [
      "onnx/control-flow",
      "onnx/types",
      "onnx/dtypes",
      "onnx/external-data",
      "odd/plain",
      "odd/fp16",
      "odd/qop",
      "odd/vit",
    ].map((name) => bytesOf(`packages/core-gpu/fixtures/${name}.onnx`)),
  );
  const safetensors = [
    core.writeSafetensors(
      { a: core.tensor("float32", [2, 3]), b: core.tensor("int64", [4]), c: core.tensor("bool", [5]) },
      { note: "x" },
    ),
    core.writeSafetensors({ weight: core.tensor("float32", [64, 8]) }),
    await bytesOf("packages/e2cm/fixtures/saved-1/saved-1-shared.safetensors"),
  ];
  const folder = await mkdtemp(join(tmpdir(), "fuzz-"));
  const header = await bytesOf("packages/e2cm/fixtures/saved-1/saved-1-shared.json");
  await writeFile(join(folder, "saved-1-shared.safetensors"), safetensors[2]);
  const manifest = await checkpoint(core, join(folder, "run"));
  return [
    { name: "readModel", seeds: onnx, expected, read: (bytes) => core.readModel(bytes) },
    {
      name: "readModel, then its inspection without a run",
      seeds: onnx,
      expected,
      read: (bytes) => looked(core, bytes),
    },
    { name: "readSafetensors", seeds: safetensors, expected, read: (bytes) => core.readSafetensors(bytes) },
    {
      name: "loadExits",
      seeds: [header],
      expected,
      read: async (bytes) => {
        await writeFile(join(folder, "fuzzed.json"), bytes);
        await e2cm.loadExits(join(folder, "fuzzed"));
      },
    },
    {
      name: "training.readCheckpoint",
      seeds: [await readFile(manifest)],
      expected,
      read: async (bytes) => {
        await writeFile(manifest, bytes);
        await core.training.readCheckpoint(join(manifest, ".."));
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
