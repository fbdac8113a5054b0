import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileProgram, type Device, type Dimension, openDevice, ops, spec, tensor, trace } from "../src/index.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

describe("split", () => {
  // Before opset 13 sizes must be known to ONNX's Split.
  it.each([11, 13, 23])("undoes concat along symbolic sizes, opset %i", async (opset) => {
    const program = trace(
      ({ a, b, c }) => {
        const parts = ops.split(ops.concat([a, b, c], 1), ["n", 2, "t"], -1);
        return { parts };
      },
      { a: spec("float32", [2, "n"]), b: spec("float32", [2, 2]), c: spec("float32", [2, "t"]) },
    );
    const feeds = {
      a: tensor("float32", [2, 1], [1, 2]),
      b: tensor("float32", [2, 2], [3, 4, 5, 6]),
      c: tensor("float32", [2, 3], [7, 8, 9, 10, 11, 12]),
    };
    const session = await compileProgram(device, program, { opset });
    const results = await session.run(feeds);
    await session.release();
    expect(Object.values(results)).toEqual(Object.values(feeds));
  });

  it.each<[string, readonly Dimension[], number, string]>([
    ["too little", [1, 1], 1, "sizes must add up to 3, the size of axis 1; got [1, 1] for float32 [n, 3]"],
    ["negative", [4, -1], 1, "sizes must add up to 3, the size of axis 1; got [4, -1] for float32 [n, 3]"],
    ["symbolic", [1, 2], 0, "sizes must add up to n, the size of axis 0; got [1, 2] for float32 [n, 3]"],
    ["axis", [3], 2, "axis must be a whole number from -2 to 1; got 2 for float32 [n, 3]"],
    ["none", [], 0, "sizes"],
  ])("refuses sizes: %s", (_, sizes, axis, message) => {
    const attempt = () => trace(({ x }) => ({ y: ops.split(x, sizes, axis) }), { x: spec("float32", ["n", 3]) });
    expect(attempt).toThrow("core-gpu.ops.split: ");
    expect(attempt).toThrow(message);
  });
});
