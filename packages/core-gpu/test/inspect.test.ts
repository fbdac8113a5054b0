// Networks as people's tools write them: fixtures/odd/generate.py makes the files and, with ONNX Runtime for Python, facts.json.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  attachModel,
  cutStages,
  type Device,
  type InspectOptions,
  identifyModel,
  inspectModel,
  type Model,
  onnx,
  openDevice,
  ops,
  programToModel,
  proposeCuts,
  readModel,
  spec,
  type Tensor,
  tensor,
  trace,
  writeModel,
} from "../src/index.ts";

const folder = new URL("../fixtures/odd/", import.meta.url);
interface Facts {
  readonly x: readonly number[];
  readonly outputs: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}
const facts = JSON.parse(readFileSync(new URL("facts.json", folder), "utf8")) as Facts;
const names = Object.keys(facts.outputs);
const odd = (name: string): Model => readModel(readFileSync(new URL(`${name}.onnx`, folder)));
const x = tensor("float32", [6, 3, 8, 8], facts.x);

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const inspect = (name: string, options?: InspectOptions) => inspectModel(device, odd(name), options);

async function run(model: Model, feed: Tensor = x): Promise<Record<string, number[]>> {
  const session = await device.load(model);
  const results = await session.run({ x: feed });
  await session.release();
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, Array.from(data, Number)]));
}

function expectClose(actual: readonly number[] | undefined, expected: readonly number[] | undefined, digits = 4): void {
  expect(actual).toHaveLength(expected!.length);
  for (const [at, value] of expected!.entries()) expect(actual![at]).toBeCloseTo(value, digits);
}

test("every file runs here as in ONNX Runtime for Python", async () => {
  for (const name of names.filter((entry) => !["nhwc", "bakedbatch"].includes(entry))) {
    const found = await run(odd(name));
    // An 8-bit step or half precision, where another processor may round otherwise.
    const digits = ["dynq", "qop", "fp16"].includes(name) ? 1 : 4;
    for (const [output, values] of Object.entries(facts.outputs[name]!)) expectClose(found[output], values, digits);
  }
});

describe("what the output is", () => {
  test.each([
    ["plain", "logits", null],
    ["softmax", "probabilities", "Softmax"],
    ["reshaped", "probabilities", "Softmax"],
    ["handmade", "probabilities", null],
    ["logsoftmax", "logProbabilities", "LogSoftmax"],
    ["sigmoid1", "sigmoid", "Sigmoid"],
    ["nhwc", "logits", null],
  ])("%s: %s", async (name, kind, operator) => {
    const { output, notes } = await inspect(name);
    expect(output).toMatchObject({ role: "classes", scores: { kind, node: operator === null ? null : { operator } } });
    expect(notes).toHaveLength(kind === "logits" ? 0 : 1);
  });

  test.each(["softmax", "reshaped", "handmade"])(
    "%s gives plain's logits, but for a number for each row",
    async (name) => {
      const { output } = await inspect(name);
      const taken = onnx.takeLogits(odd(name), output!.name, output!.scores, output!.classes);
      expect(taken).toMatchObject({ output: "probs/logits", classes: 4 });
      const logits = (await run(taken.model))["probs/logits"]!;
      const plain = facts.outputs.plain!.logits!;
      const offset = (row: number) => (name === "handmade" ? logits[row * 4]! - plain[row * 4]! : 0);
      expectClose(
        logits,
        plain.map((value, at) => value + offset(Math.floor(at / 4))),
      );
      // It is read again as a file, and is not softmaxed twice.
      const again = await inspectModel(device, readModel(writeModel(taken.model)));
      expect(again.output!.scores.kind).toBe(name === "handmade" ? "logProbabilities" : "logits");
      expect(again.rows.independent).toBe(true);
    },
  );

  test("log-probabilities and logits are left as they are", async () => {
    for (const name of ["logsoftmax", "plain"]) {
      const { output } = await inspect(name);
      const model = odd(name);
      expect(onnx.takeLogits(model, output!.name, output!.scores, 4).model).toBe(model);
    }
  });

  test("one sigmoid of z is two classes with the logits 0 and z", async () => {
    const { output } = await inspect("sigmoid1");
    const taken = onnx.takeLogits(odd("sigmoid1"), output!.name, output!.scores, output!.classes);
    expect(taken.classes).toBe(2);
    const logits = (await run(taken.model))[taken.output]!;
    const second = facts.outputs.sigmoid1!.p!;
    for (const [row, p] of second.entries()) {
      expect(logits[2 * row]).toBe(0);
      expect(1 / (1 + Math.exp(-logits[2 * row + 1]!))).toBeCloseTo(p, 5);
    }
  });

  test("of several outputs with scores none is taken, and a name says which", async () => {
    const { output, notes } = await inspect("auxfirst");
    expect(output).toBeNull();
    expect(notes).toEqual(['Several outputs hold scores: "aux", "logits". Say which: output.']);
    expect((await inspect("auxfirst", { output: "logits" })).output?.name).toBe("logits");
    await expect(inspect("auxfirst", { output: "logit" })).rejects.toThrow('got "logit". Did you mean "logits"?');
    expect(proposeCuts(odd("auxfirst"), { outputs: ["logits"] })).toEqual(proposeCuts(odd("plain")));
  });

  test("what the caller says of the numbers goes before what they look like", async () => {
    expect((await inspect("handmade", { scores: "logits" })).output!.scores.kind).toBe("logits");
    expect((await inspect("plain", { scores: "probabilities" })).output!.scores.kind).toBe("probabilities");
  });
});

describe("whether rows answer for themselves", () => {
  test.each([
    ["bntrain", "BatchNormalization"],
    ["dynq", "DynamicQuantizeLinear"],
  ])("%s: not, by %s", async (name, operator) => {
    const { rows, notes } = await inspect(name);
    expect(rows).toMatchObject({ batches: "any", independent: false, culprit: { operator } });
    expect(notes.join()).toContain(`The rows of a batch change each other's answers by ${operator} node`);
  });

  test("an operator that nobody listed is found by trial", async () => {
    const mixing = programToModel(
      trace(({ x }) => ({ y: ops.sub(ops.relu(x), ops.mean(x, { axes: 0, keepDimensions: true })) }), {
        x: spec("float32", ["n", 4]),
      }),
    );
    const { rows } = await inspectModel(device, mixing);
    expect(rows).toMatchObject({ independent: false, culprit: { operator: "Sub" } });
  });

  test("a batch that is baked in is told before any pass", async () => {
    const { rows, notes } = await inspect("bakedbatch");
    expect(rows).toMatchObject({ batches: "one", independent: true });
    expect(notes.join()).toContain("It runs on one sample at a time only:");
  });

  test.each(["plain", "qop", "fp16", "vit", "nhwc", "unsorted", "opset7", "opset24", "opset26"])(
    "%s: yes",
    async (name) => {
      expect((await inspect(name)).rows).toMatchObject({ batches: "any", independent: true });
    },
  );
});

describe("types and operator sets", () => {
  test("half precision and quantised taps are read as float32, and the answers stay", async () => {
    for (const [name, inside] of [
      ["fp16", "float16"],
      ["qop", "int8"],
    ] as const) {
      const model = odd(name);
      expect((await inspect(name)).types).toContain(inside);
      const taps = proposeCuts(model);
      expect(taps.length).toBeGreaterThan(0);
      const { model: readable, names } = onnx.readable("test", model, taps);
      expect([...names.values()]).toEqual(taps.map((tap) => `${tap}/float32`));
      expectClose((await run(readable)).logits, (await run(model)).logits, 6);
      // Each is a place to cut, as the tap was, and a head can read it.
      for (const tap of names.values()) {
        expect(cutStages(readable, [tap])).toHaveLength(2);
        const head = programToModel(trace(({ y }) => ({ sum: ops.sum(y) }), { y: spec("float32", ["n", 8, 8, 8]) }));
        const attached = attachModel(readable, head, { prefix: "head", inputs: { y: tap } });
        const output = [
          ...attached.model.proto.graph!.output,
          onnx.create(onnx.ValueInfoProtoSchema, { name: attached.outputs.sum! }),
        ];
        const graph = onnx.changed(attached.model.proto.graph!, { output });
        const found = await run({ proto: onnx.changed(attached.model.proto, { graph }) });
        expect(Number.isFinite(found[attached.outputs.sum!]![0])).toBe(true);
      }
    }
    const plain = odd("plain");
    expect(onnx.readable("test", plain, ["r1"]).model).toBe(plain);
  });

  test("nodes out of order are sorted while reading, so that the network is plain", async () => {
    expect(identifyModel(odd("unsorted"))).toBe(identifyModel(odd("plain")));
    expectClose((await run(odd("unsorted"))).logits, facts.outputs.plain!.logits);
    const cycle = odd("plain");
    const [first] = cycle.proto.graph!.node;
    const node = [onnx.changed(first!, { input: ["r2", "w1"] }), ...cycle.proto.graph!.node.slice(1)];
    const proto = onnx.changed(cycle.proto, { graph: onnx.changed(cycle.proto.graph!, { node }) });
    expect(() => readModel(writeModel({ proto }))).toThrow("before it is made: a cycle");
  });

  test.each([7, 9, 24, 26])("operator set %d takes heads; what it lacks is named", async (opset) => {
    const model = odd(`opset${opset}`);
    expect((await inspectModel(device, model)).notes).toEqual([
      `Operator set ${opset}: it runs and exits can be attached; gradients need a set of 11 to 23.`,
    ]);
    const head = trace(
      ({ y }) => ({ scores: ops.softmax(ops.matmul(ops.mean(y, { axes: [2, 3] }), tensor("float32", [8, 4]))) }),
      {
        y: spec("float32", ["n", 8, 8, 8]),
      },
    );
    const attached = attachModel(model, programToModel(head, { opset }), { prefix: "h", inputs: { y: "r1" } });
    const output = [onnx.create(onnx.ValueInfoProtoSchema, { name: attached.outputs.scores! })];
    const proto = onnx.changed(attached.model.proto, { graph: onnx.changed(attached.model.proto.graph!, { output }) });
    expectClose((await run({ proto }))[attached.outputs.scores!], Array(24).fill(0.25));
    if (opset > 11) return;
    const clipping = trace(({ y }) => ({ z: ops.clip(y, { minimum: 0, maximum: 1 }) }), { y: spec("float32", ["n"]) });
    expect(() => programToModel(clipping, { opset })).toThrow(
      `core-gpu.programToModel: operator set ${opset} must have all operators; got Clip, of set 11. Raise the model's operator set`,
    );
  });
});

describe("identity", () => {
  test("doc strings, producer, metadata, names of graphs and nodes do not count", () => {
    expect(identifyModel(odd("meta"))).toBe(identifyModel(odd("plain")));
  });

  test("what is computed does: weights, nodes, attributes, operator sets, names of tensors", () => {
    const plain = odd("plain");
    const change = (graph: Partial<onnx.GraphProto>) =>
      identifyModel({ proto: onnx.changed(plain.proto, { graph: onnx.changed(plain.proto.graph!, graph) }) });
    const { initializer, node } = plain.proto.graph!;
    const [first, ...others] = initializer;
    const bytes = first!.rawData.slice();
    bytes[0]! ^= 1;
    const changes = [
      change({ initializer: [onnx.changed(first!, { rawData: bytes }), ...others] }),
      change({
        node: node.map((entry) => (entry.opType === "Relu" ? onnx.changed(entry, { opType: "Sigmoid" }) : entry)),
      }),
      change({ node: node.map((entry) => (entry.opType === "Conv" ? onnx.changed(entry, { attribute: [] }) : entry)) }),
      identifyModel(odd("opset9")),
      identifyModel(odd("softmax")),
    ];
    expect(new Set([identifyModel(plain), ...changes]).size).toBe(changes.length + 1);
  });
});

test("words for a person", async () => {
  const { words, identity } = await inspect("softmax");
  expect(words.split("\n")).toEqual([
    `network ${identity.slice(0, 12)}, operator set 17, float32 inside`,
    "input   x  float32 [n, 3, 8, 8]",
    "output  probs  float32 [n, 4]  probabilities of 4 classes",
    "rows    independent of each other",
    'note    Output "probs" holds probabilities, made by Softmax node "probs/Softmax"; logits are taken before it, from "logits".',
  ]);
});
