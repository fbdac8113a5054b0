import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, createRegistry, equals, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { InputError } from "../src/errors.ts";
import { cutStages } from "../src/onnx/cut.ts";
import { changed } from "../src/onnx/graph.ts";
import {
  describeModel,
  hashModel,
  type Model,
  readModel,
  readModelFile,
  writeModel,
  writeModelFile,
} from "../src/onnx/model.ts";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from "../src/onnx/onnx_pb.ts";
import { proposeCuts } from "../src/onnx/propose.ts";
import { generator } from "../src/random.ts";
import { facts, fixture, fixtureBytes, networks } from "./onnx-support.ts";

const readable = [...networks, "resnet20-hollow", "control-flow", "unknown-fields", "types", "dtypes"];
const ours = (dtype: string) => ({ FLOAT: "float32", DOUBLE: "float64" })[dtype] ?? dtype.toLowerCase();

test.each(readable)("%s: inputs, outputs, initializers and opset are those Python's onnx reads", (name) => {
  const fact = facts()[name]!;
  const info = (entries: readonly (readonly [string, string, readonly (number | string)[]])[]) =>
    entries.map(([entry, dtype, shape]) => ({ name: entry, dtype: ours(dtype), shape }));
  const model = fixture(name);
  expect(fixtureBytes(name).length).toBe(fact.bytes);
  expect(describeModel(model)).toEqual({
    inputs: info(fact.inputs),
    outputs: info(fact.outputs),
    initializers: info(fact.initializers),
    opset: fact.opset,
  });
  const operators: Record<string, number> = {};
  for (const { opType } of model.proto.graph!.node) operators[opType] = (operators[opType] ?? 0) + 1;
  expect(operators).toEqual(fact.operators);
  expect(Number(model.proto.irVersion)).toBe(fact.irVersion);
});

test.each(readable)("%s: writing and reading again gives an equal message", (name) => {
  const model = fixture(name);
  const written = writeModel(model);
  expect(
    equals(ModelProtoSchema, readModel(written).proto, model.proto, { registry: createRegistry(), unknown: true }),
  ).toBe(true);
  // Everything is kept: nothing in the file is redundant, so that the sizes agree as well.
  expect(written.length).toBe(fixtureBytes(name).length);
  expect(hashModel(readModel(written))).toBe(hashModel(model));
});

test("fields this version does not know survive in every kind of message", () => {
  const text = Buffer.from(writeModel(fixture("unknown-fields"))).toString("latin1");
  for (const place of ["model", "graph"]) expect(text).toContain(`in the ${place}`);
  for (const place of ["a node", "an attribute", "a weight"]) expect(text).toContain(`in ${place}`);
  const plain = fixture("unknown-fields");
  const without = { proto: changed(plain.proto, { $unknown: [] }) };
  expect(equals(ModelProtoSchema, without.proto, plain.proto, { registry: createRegistry(), unknown: true })).toBe(
    false,
  );
  expect(hashModel(without)).not.toBe(hashModel(plain));
});

test("weights are views into the bytes, not copies", () => {
  const bytes = new Uint8Array(fixtureBytes("resnet20"));
  const [weight] = readModel(bytes).proto.graph!.initializer;
  expect(weight!.rawData.buffer).toBe(bytes.buffer);
  expect(Object.getPrototypeOf(readModel(Buffer.from(bytes)).proto.graph!.initializer[0]!.rawData)).toBe(
    Uint8Array.prototype,
  );
});

test("a file is written whole and read back", async () => {
  const folder = await mkdtemp(join(tmpdir(), "onnx-"));
  try {
    const path = join(folder, "network.onnx");
    await writeModelFile(path, fixture("vgg"));
    expect(new Uint8Array(await readFile(path))).toEqual(writeModel(fixture("vgg")));
    expect(hashModel(await readModelFile(path))).toBe(hashModel(fixture("vgg")));
    await expect(readModelFile(join(folder, "missing.onnx"))).rejects.toThrow(/readModelFile: .*missing\.onnx/);
    await expect(readModelFile(path, { source: "x" } as object)).rejects.toThrow(/unknown option "source"/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("what is no model is refused by name, swapped arguments among it", async () => {
  const swapped = writeModelFile(fixture("vgg") as never, "network.onnx" as never);
  await expect(swapped).rejects.toThrow(
    "core-gpu.writeModelFile: the model must be one that was read or made; got string. readModelFile(path) and readModel(bytes) give one.",
  );
  expect(() => writeModel(null as never)).toThrow(/core-gpu\.writeModel: .*got null/);
  expect(() => describeModel({} as never)).toThrow(/core-gpu\.describeModel: .*got object/);
});

test("data in other files are refused with the tensor's name and place, unless allowed", () => {
  expect(() => fixture("external-data")).toThrow(
    /core-gpu\.readModel: external-data\.onnx .*tensor "w" whose data lie in "\.\.\/\.\.\/etc\/passwd".*allowExternalData/,
  );
  const kept = readModel(fixtureBytes("external-data"), { allowExternalData: true });
  expect(describeModel(kept).initializers).toEqual([{ name: "w", dtype: "float32", shape: [4, 4] }]);
});

test("data in other files are found in attributes and in the bodies of If as well", () => {
  const external = create(TensorProtoSchema, {
    dims: [1n],
    dataType: 1,
    externalData: [{ key: "location", value: "f" }],
  });
  const constant = create(NodeProtoSchema, {
    opType: "Constant",
    output: ["c"],
    attribute: [{ name: "value", t: external }],
  });
  const body = create(GraphProtoSchema, { node: [constant], output: [{ name: "c" }] });
  const branch = create(NodeProtoSchema, {
    opType: "If",
    input: ["x"],
    output: ["y"],
    attribute: [{ name: "then", g: body }],
  });
  expect(() => readModel(encode({ node: [branch] }))).toThrow(/data lie in "f"/);
});

test("options and bytes are checked", () => {
  expect(() => readModel(new Uint8Array(), { sauce: "x" } as object)).toThrow(/unknown option "sauce"/);
  expect(() => readModel("network.onnx" as unknown as Uint8Array)).toThrow(/bytes must be a Uint8Array; got string/);
});

/** An encoded model of a graph with input x and output y. */
function encode(
  graph: Extract<MessageInitShape<typeof GraphProtoSchema>, { readonly $typeName?: never }>,
  model: Extract<MessageInitShape<typeof ModelProtoSchema>, { readonly $typeName?: never }> = {},
): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [create(OperatorSetIdProtoSchema, { version: 17n })],
      graph: create(GraphProtoSchema, {
        input: [create(ValueInfoProtoSchema, { name: "x" })],
        output: [create(ValueInfoProtoSchema, { name: "y" })],
        ...graph,
      }),
      ...model,
    }),
  );
}

const node = (opType: string, input: string[], output: string[]) => create(NodeProtoSchema, { opType, input, output });
const weight = (name: string, rest: object) => create(TensorProtoSchema, { name, dataType: 1, dims: [2n], ...rest });
const relu = node("Relu", ["x"], ["y"]);

test("the smallest model is read", () => {
  expect(describeModel(readModel(encode({ node: [relu] })))).toEqual({
    inputs: [{ name: "x", dtype: "undefined", shape: [], unknownRank: true }],
    outputs: [{ name: "y", dtype: "undefined", shape: [], unknownRank: true }],
    initializers: [],
    opset: 17,
  });
});

test.each<[string, Uint8Array, RegExp]>([
  ["nothing", new Uint8Array(), /without a graph/],
  ["text", new TextEncoder().encode("<!doctype html><html>"), /do not decode/],
  ["no operator set", encode({ node: [relu] }, { opsetImport: [] }), /imports no operator set/],
  ["no outputs", encode({ node: [relu], output: [] }), /graph without outputs/],
  [
    "a dangling input",
    encode({ node: [node("Add", ["x", "z"], ["y"])] }),
    /Add node "y" reading "z", which nothing makes/,
  ],
  ["a dangling output", encode({ node: [node("Relu", ["x"], ["z"])] }), /output "y", which nothing makes/],
  [
    "a cycle",
    encode({ node: [node("Add", ["x", "y"], ["a"]), node("Relu", ["a"], ["y"])] }),
    /before it is made: a cycle/,
  ],
  ["a tensor made twice", encode({ node: [relu, relu] }), /tensor "y" made twice/],
  ["a tensor that is an input", encode({ node: [relu, node("Relu", ["x"], ["x"])] }), /tensor "x" made twice/],
  ["a nameless operator", encode({ node: [node("", ["x"], ["y"])] }), /without an operator/],
  [
    "two inputs of a name",
    encode({ node: [relu], input: [1, 2].map(() => create(ValueInfoProtoSchema, { name: "x" })) }),
    /two inputs named "x"/,
  ],
  [
    "two weights of a name",
    encode({ node: [relu], initializer: [1, 2].map(() => weight("w", { floatData: [1, 2] })) }),
    /two initializers named "w"/,
  ],
  [
    "a short weight",
    encode({ node: [relu], initializer: [weight("w", { rawData: new Uint8Array(7) })] }),
    /"w" \(float32 \[2\]\) with 7 bytes; it needs 8/,
  ],
  [
    "a short typed weight",
    encode({ node: [relu], initializer: [weight("w", { floatData: [1] })] }),
    /with 1 values; it needs 2/,
  ],
  ["a negative size", encode({ node: [relu], initializer: [weight("w", { dims: [-1n] })] }), /impossible dimensions/],
  [
    "an immense size",
    encode({ node: [relu], initializer: [weight("w", { dims: [1n << 40n, 1n << 40n] })] }),
    /impossible dimensions/,
  ],
])("%s is refused", (_, bytes, message) => {
  expect(() => readModel(bytes)).toThrow(InputError);
  expect(() => readModel(bytes)).toThrow(message);
});

test("a file that is cut short anywhere is refused or still a whole model", () => {
  const bytes = fixtureBytes("two-inputs");
  let refused = 0;
  for (let length = 0; length < bytes.length; length += 7) {
    if (outcome(bytes.subarray(0, length)) === "refused") refused++;
  }
  expect(refused).toBeGreaterThan(bytes.length / 7 - 8);
});

test("5,000 mutated files: only InputError comes out", () => {
  const random = generator(20);
  const counts = { refused: 0, read: 0 };
  for (const name of ["two-inputs", "control-flow", "unknown-fields", "types", "dtypes"]) {
    const original = fixtureBytes(name);
    for (let round = 0; round < 1000; round++) {
      counts[outcome(mutate(original, random))]++;
    }
  }
  expect(counts.refused + counts.read).toBe(5000);
  expect(counts.refused).toBeGreaterThan(500);
  expect(counts.read).toBeGreaterThan(500);
}, 30_000);

/** What reading, describing and writing does; anything but an InputError passes through. */
function outcome(bytes: Uint8Array): "refused" | "read" {
  let model: Model;
  try {
    model = readModel(bytes);
  } catch (error) {
    if (error instanceof InputError && error.message.length < 2000) return "refused";
    throw error;
  }
  describeModel(model);
  try {
    cutStages(model, proposeCuts(model));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
  // What was read can be written, and means the same.
  const written = writeModel(model);
  expect(Buffer.compare(written, writeModel(readModel(written)))).toBe(0);
  return "read";
}

/** One to four changes: a flipped bit, a random byte, a removed, doubled or zeroed stretch. */
function mutate(original: Uint8Array, random: ReturnType<typeof generator>): Uint8Array {
  let bytes = Uint8Array.from(original);
  for (let change = 1 + random.integer(4); change > 0; change--) {
    const at = random.integer(bytes.length);
    const end = Math.min(bytes.length, at + 1 + random.integer(16));
    const kind = random.integer(5);
    if (kind === 0) bytes[at]! ^= 1 << random.integer(8);
    else if (kind === 1) bytes[at] = random.integer(256);
    else if (kind === 2) bytes.fill(random.integer(2) * 255, at, end);
    else if (kind === 3) bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(end)]);
    else bytes = Uint8Array.from([...bytes.subarray(0, end), ...bytes.subarray(at)]);
  }
  return bytes;
}

test("deeply nested messages are refused, not a crash", () => {
  // A type that is a sequence of a sequence of ... : 1,500 levels; each wraps the one before as field 1 inside field 4.
  const wrap = (bytes: number[], field: number): number[] => {
    const size: number[] = [];
    for (let left = bytes.length; ; left >>>= 7) {
      size.push(left > 127 ? (left & 127) | 128 : left);
      if (left <= 127) break;
    }
    return [(field << 3) | 2, ...size, ...bytes];
  };
  let type: number[] = [];
  for (let level = 0; level < 1500; level++) type = wrap(wrap(type, 1), 4);
  const bytes = Uint8Array.from(wrap(wrap(wrap(type, 2), 11), 7));
  expect(outcome(bytes)).toBe("refused");
});

test("a model of 100 MB is read without copying a weight, and written whole", () => {
  const floats = new Uint8Array(1_000_000);
  const initializer = Array.from({ length: 100 }, (_, at) =>
    create(TensorProtoSchema, { name: `w${at}`, dataType: 1, dims: [250_000n], rawData: floats }),
  );
  const bytes = encode({ node: [relu], initializer });
  const model = readModel(bytes);
  expect(bytes.length).toBeGreaterThan(100_000_000);
  expect(describeModel(model).initializers.length).toBe(100);
  for (const weight of model.proto.graph!.initializer) expect(weight.rawData.buffer).toBe(bytes.buffer);
  expect(writeModel(model).length).toBe(bytes.length);
});
