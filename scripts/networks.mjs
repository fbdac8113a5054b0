// Writes docs/networks.md: what `inspectModel` says of networks that other tools exported. Build first.
// Usage: node scripts/networks.mjs [--check]
import { readdir, readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { check: { type: "boolean" }, source: { type: "boolean" } } });
const root = new URL("../", import.meta.url);
const entry = values.source ? "packages/core-gpu/src/index.ts" : "packages/core-gpu/dist/index.js";
const { inspectModel, openDevice, readModel } = await import(new URL(entry, root).href);

/** Who wrote a file, by how its name begins. */
const exporters = [
  ["resnet-torchscript", "PyTorch, torch.onnx (TorchScript): a ResNet as torchvision has it"],
  ["resnet-dynamo", "PyTorch, torch.onnx (dynamo): the same"],
  ["resnet-training", "PyTorch, exported in training mode"],
  ["mobilenet-torchscript", "PyTorch, torch.onnx (TorchScript): inverted residuals with squeeze-excite"],
  ["mobilenet-dynamo", "PyTorch, torch.onnx (dynamo): the same"],
  ["vit-torchscript", "PyTorch, torch.onnx (TorchScript): a vision transformer"],
  ["vit-dynamo", "PyTorch, torch.onnx (dynamo): the same"],
  ["gpt2-torchscript", "transformers, GPT-2 (TorchScript)"],
  ["gpt2-dynamo", "transformers, GPT-2 (dynamo)"],
  ["keras-cnn", "Keras, tf2onnx"],
  ["keras-transformer", "Keras, tf2onnx"],
  ["channels-last", "tf2onnx style, channels last"],
];

const device = await openDevice("cpu", { threads: 1 });
const folders = ["packages/core-gpu/fixtures/import/", "packages/core-gpu/fixtures/odd/"];
const parts = [];
for (const folder of folders) {
  for (const name of (await readdir(new URL(folder, root))).filter((file) => file.endsWith(".onnx")).sort()) {
    const from = exporters.find(([beginning]) => name.startsWith(beginning))?.[1];
    const model = readModel(await readFile(new URL(folder + name, root)));
    const said = await inspectModel(device, model).then(
      ({ words }) => words,
      (error) => error.message,
    );
    parts.push(`### ${name}${from === undefined ? "" : `\n\n${from}.`}\n\n\`\`\`text\n${said}\n\`\`\`\n`);
  }
}
await device.close();
const text = `# What an inspection says

\`inspectModel\` of networks that other tools exported (\`fixtures/import\`, random weights) and of networks that are odd in one way each (\`fixtures/odd\`). Written by \`node scripts/networks.mjs\`.

${parts.join("\n")}`;
const page = new URL("docs/networks.md", root);
if (!values.check) await writeFile(page, text);
else if ((await readFile(page, "utf8")) !== text) {
  process.stderr.write("docs/networks.md is not what scripts/networks.mjs writes\n");
  process.exitCode = 1;
}
