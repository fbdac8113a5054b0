// Says which devices work here and runs a small program on WebGPU, for check.mjs, which reads from the Vulkan loader's log
// which adapter that was.
// @ts-check
import { diagnoseDevices, openDevice, ops, spec, tensor, trace } from "@exitkit/core-gpu";

const diagnoses = await diagnoseDevices();
process.stdout.write(`\nREPORT${JSON.stringify(diagnoses)}\n`);
if (diagnoses.find(({ kind }) => kind === "webgpu")?.available) {
  const device = await openDevice("webgpu");
  const runner = await device.compile(trace(({ x }) => ({ y: ops.add(x, 1) }), { x: spec("float32", [1]) }));
  await runner.run({ x: tensor("float32", [1], [1]) });
  await device.close();
}
