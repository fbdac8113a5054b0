import * as core from "../packages/core-gpu/src/index.ts";

/** Things that public functions take as their first argument. */
export function fixtures(device: core.Device): readonly (readonly [label: string, value: unknown])[] {
  const x = core.tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
  const program = core.trace(({ x }) => ({ logits: core.ops.softmax(x) }), { x: core.spec("float32", ["n", 3]) });
  return [
    ["{}", {}],
    ["[]", []],
    ["a string", "x"],
    ["a function", () => undefined],
    ["a tensor", x],
    ["tensors", { x }],
    ["numbers", [1, 2]],
    ["objects", [{}, {}]],
    ["a typed array", new Float32Array(6)],
    ["bytes", new Uint8Array(8)],
    ["a device", device],
    ["a generator", core.generator(1)],
    ["a program", program],
    ["a model", core.programToModel(program)],
  ];
}
