// Says which devices work here, then has the runtime itself run a small program on WebGPU, for a process that reads from the
// Vulkan loader's log which adapter that was, or why there is none.
import * as ort from "onnxruntime-node";
import { diagnoseDevices, ops, programToModel, spec, trace, writeModel } from "../../src/index.ts";

process.stdout.write(`\nREPORT${JSON.stringify(await diagnoseDevices())}\n`);
const program = trace(({ x }) => ({ y: ops.add(x, 1) }), { x: spec("float32", [1]) });
const session = await ort.InferenceSession.create(writeModel(programToModel(program)), {
  executionProviders: ["webgpu"],
});
await session.run({ x: new ort.Tensor("float32", [1], [1]) });
await session.release();
