// Runs the fixture's convolution on WebGPU and prints what came out, for a test that starts it under a chosen driver.
import { diagnoseDevices } from "../../src/device/diagnose.ts";
import { openDevice } from "../../src/device/open.ts";
import type { Tensor } from "../../src/tensor.ts";
import { tensor } from "../../src/tensor.ts";
import { fixture, modelBytes } from "./device-fixture.ts";

const diagnoses = await diagnoseDevices();
const auto = await openDevice("auto");
await auto.close();
const device = await openDevice("webgpu");
const session = await device.load(modelBytes("convolution"));
// A view that does not start at the beginning of its buffer, and more rows in the second run than in the first.
const larger = new Float32Array([9, 9, ...fixture.convolution.x, ...fixture.convolution.x, 9]);
const size = fixture.convolution.x.length;
const once = await session.run({ x: tensor("float32", [2, 3, 6, 5], larger.subarray(2, 2 + size)) });
const into = tensor("float32", [4, 5]);
const twice = await session.run(
  { x: tensor("float32", [4, 3, 6, 5], larger.subarray(2, 2 + 2 * size)) },
  { into: { logits: into } },
);
await device.close();

const listed = (results: Record<string, Tensor>) =>
  Object.fromEntries(Object.entries(results).map(([name, { shape, data }]) => [name, { shape, data: [...data] }]));
const report = {
  diagnoses,
  auto: auto.kind,
  passedOver: auto.passedOver,
  once: listed(once),
  twice: listed(twice),
  same: twice.logits === into,
};
process.stdout.write(`\nREPORT${JSON.stringify(report)}\n`);
