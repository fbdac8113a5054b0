import { expect, test } from "vitest";
import { dtypeName } from "../src/onnx/dtypes.ts";
import { addTaps } from "../src/onnx/taps.ts";
import { elementTypes } from "../src/onnx/types.ts";
import { fixture, inferredTypes, networks, randomFeeds, runOnce } from "./onnx-support.ts";

test("element types that follow from operators are those onnx infers", () => {
  const types = elementTypes(fixture("dtypes").proto.graph!);
  const expected = Object.entries(inferredTypes());
  expect(expected.length).toBeGreaterThan(40);
  const names = { FLOAT: "float32", DOUBLE: "float64" } as Record<string, string>;
  for (const [name, dtype] of expected) {
    const type = types.get(name)!;
    expect([name, type === 0 ? null : dtypeName(type)]).toEqual([
      name,
      dtype === null ? null : (names[dtype] ?? dtype.toLowerCase()),
    ]);
  }
});

test.each(networks)("%s: element types are those of the tensors that ONNX Runtime returns", async (name) => {
  const model = fixture(name);
  const outputs = model.proto.graph!.node.flatMap(({ output }) => output);
  const values = await runOnce(addTaps(model, outputs), randomFeeds(model, 1));
  const types = elementTypes(model.proto.graph!);
  for (const output of outputs)
    expect([output, dtypeName(types.get(output)!)]).toEqual([output, values[output]!.dtype]);
});
