import * as ort from "onnxruntime-node";
import { expect, it } from "vitest";
import { asTensor, openDevice, ops, programToModel, spec, tensor, trace } from "../src/index.ts";

it("takes ONNX Runtime's own tensors as they are, without a copy", async () => {
  const theirs = new ort.Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]);
  const own = asTensor(theirs);
  expect(own).toEqual(tensor("float32", [2, 2], [1, 2, 3, 4]));
  expect(own.data).toBe(theirs.data);
  expect(asTensor(own)).toBe(own);
  expect(asTensor(new ort.Tensor("int64", BigInt64Array.of(7n), [1]))).toEqual(tensor("int64", [1], [7]));
  const device = await openDevice("cpu");
  const double = trace(({ x }) => ({ y: ops.mul(x, 2) }), { x: spec("float32", ["n", 2]) });
  const session = await device.load(programToModel(double));
  const runner = await device.compile(double);
  for (const { run } of [session, runner])
    expect((await run({ x: theirs })).y).toEqual(tensor("float32", [2, 2], [2, 4, 6, 8]));
  await device.close();
});

it("says what is missing of a tensor that is elsewhere", () => {
  const elsewhere = {
    dims: [1],
    type: "float32",
    get data(): Float32Array {
      throw new Error("The data is not on CPU.");
    },
  };
  expect(() => asTensor(elsewhere)).toThrow(
    "a tensor's data must be on the CPU; got one that is elsewhere. Read it first: await tensor.getData().",
  );
});
