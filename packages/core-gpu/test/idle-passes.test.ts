import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { idlePasses } from "../src/device/idle-passes.ts";
import { gradients, ops, programToModel, readModel, spec, tensor, trace, writeModel } from "../src/index.ts";

const ones = tensor("float32", [6], [1, 1, 1, 1, 1, 1]);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "idle-passes-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A training step of a small network; what is between its two convolutions is given. */
function stepOf(between: (x: ReturnType<typeof ops.relu>) => ReturnType<typeof ops.relu>) {
  const specs = {
    x: spec("float32", [2, 4, 6, 6]),
    first: spec("float32", [4, 4, 3, 3]),
    last: spec("float32", [4, 4]),
  };
  const program = trace(({ x, first, last }) => {
    const hidden = between(ops.conv(x, first, { padding: 1 }));
    const logits = ops.matmul(ops.mean(ops.maxPool(hidden, { kernel: 2 }), { axes: [2, 3] }), last);
    const loss = ops.mean(ops.square(logits));
    return { loss, gradients: gradients(loss, { first, last }) };
  }, specs);
  return programToModel(program);
}

/** How often each operator is in what the runtime makes of a model. */
async function optimised(model: ReturnType<typeof stepOf>, idle: string): Promise<Record<string, number>> {
  const optimizedModelFilePath = join(folder, `${idle.length}.onnx`);
  const extra = idle === "" ? {} : { extra: { optimization: { disable_specified_optimizers: idle } } };
  const session = await InferenceSession.create(writeModel(model), {
    graphOptimizationLevel: "extended",
    optimizedModelFilePath,
    logSeverityLevel: 4,
    ...extra,
  });
  await session.release();
  const counts: Record<string, number> = {};
  for (const { opType } of readModel(await readFile(optimizedModelFilePath)).proto.graph!.node) {
    counts[opType] = (counts[opType] ?? 0) + 1;
  }
  return counts;
}

describe("optimisations that are left out", () => {
  test.each([
    ["ReLU", (x) => ops.relu(x), 25],
    ["GELU", (x) => ops.gelu(x), 20],
    ["layer norm", (x) => ops.layerNorm(x, ones, ones), 21],
    ["gather", (x) => ops.gather(x, tensor("int64", [4], [3, 1, 2, 0]), { axis: 1 }), 23],
  ] as [string, Parameters<typeof stepOf>[0], number][])("would find nothing: %s", async (_, between, count) => {
    const model = stepOf(between);
    const idle = idlePasses(model);
    expect(idle.split(";")).toHaveLength(count);
    expect(await optimised(model, idle)).toEqual(await optimised(model, ""));
  });

  test("the runtime takes the list: what is named there does not happen", async () => {
    const gelu = programToModel(
      trace(({ x }) => ({ y: ops.mul(ops.mul(x, 0.5), ops.add(ops.erf(ops.div(x, Math.SQRT2)), 1)) }), {
        x: spec("float32", ["n", 4]),
      }),
    );
    expect(await optimised(gelu, "")).toHaveProperty("Gelu");
    expect(await optimised(gelu, "GeluFusionL1;GeluFusionL2")).not.toHaveProperty("Gelu");
  });

  test("none is left out where a body of a loop or branch may hold what it looks for", async () => {
    const file = new URL("../fixtures/onnx/control-flow.onnx", import.meta.url);
    expect(idlePasses(readModel(await readFile(file)))).toBe("");
  });
});
