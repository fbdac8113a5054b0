import { readFileSync } from "node:fs";
import {
  channelBlocks,
  type Device,
  describeModel,
  generator,
  layers,
  type Model,
  onnx,
  openDevice,
  ops,
  optimisers,
  programToModel,
  proposeCuts,
  quantiseModel,
  readModel,
  spec,
  type Tensor,
  tensor,
  trace,
  training,
  type Value,
  writeModel,
} from "@exitkit/core-gpu";
import {
  ALWAYS,
  cascade,
  countExitCosts,
  exitNetwork,
  heads,
  importBackbone,
  NEVER,
  openStaged,
  recordExits,
  toExitModel,
  trainExits,
} from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphOf } from "../src/channels/graph.ts";
import { importanceOf } from "../src/channels/importance.ts";
import { shapesOf } from "../src/channels/probe.ts";
import { propagate } from "../src/channels/propagate.ts";
import { removeClasses } from "../src/channels/remove.ts";
import { classesToRemove } from "../src/channels/select.ts";
import { pruneChannels } from "../src/index.ts";
import { tinyNetwork } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const fixtures = new URL("../../core-gpu/fixtures/", import.meta.url);
const fixture = (name: string) => readModel(readFileSync(new URL(`${name}.onnx`, fixtures)));

/** Every weight that is cut along an axis, with the elements of removed channels set to 0. */
function masked(
  model: Model,
  cuts: ReturnType<typeof propagate>["cuts"],
  isRemoved: (label: number) => boolean,
): Model {
  const graph = model.proto.graph!;
  const initializer = graph.initializer.map((weight) => {
    const axes = cuts.get(weight.name);
    if (axes === undefined) return weight;
    const held = onnx.hostTensor("test", weight) as Tensor<"float32">;
    const data = held.data.slice();
    for (const [axis, along] of axes) {
      const stride = held.shape.slice(axis + 1).reduce((size, side) => size * side, 1);
      data.forEach((_, at) => {
        if (isRemoved(along[Math.floor(at / stride) % along.length]!)) data[at] = 0;
      });
    }
    return onnx.tensorProto(weight.name, tensor("float32", held.shape, data));
  });
  return { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { initializer }) }) };
}

async function outputsOf(model: Model, batch = 3): Promise<Tensor<"float32">> {
  const random = generator(7);
  const { inputs, outputs } = describeModel(model);
  const feeds = Object.fromEntries(
    inputs.map(({ name, dtype, shape }) => {
      const sized = shape.map((side) => (typeof side === "number" ? side : batch));
      const size = sized.reduce((product, side) => product * side, 1);
      if (dtype !== "float32") {
        const tokens = Array.from({ length: size }, (_, at) => at % 5);
        return [name, dtype === "int64" ? tensor(dtype, sized, tokens.map(BigInt)) : tensor("int32", sized, tokens)];
      }
      return [
        name,
        tensor(
          "float32",
          sized,
          Array.from({ length: size }, () => random.normal()),
        ),
      ];
    }),
  );
  const session = await device.load(model);
  try {
    return (await session.run(feeds))[outputs[0]!.name] as Tensor<"float32">;
  } finally {
    await session.release();
  }
}

/** The pruned network's answers beside the masked one's; how many channels went. */
async function compared(model: Model, keep: number, multipleOf: number) {
  const dependencies = propagate(graphOf("test", model, await shapesOf(device, model, {})));
  const importance = importanceOf("test", model, dependencies, undefined);
  const removed = classesToRemove(dependencies, importance, { keep, multipleOf });
  const isRemoved = (label: number) => removed.has(dependencies.labels.classOf(label));
  const [smaller, zeroed] = [
    await outputsOf(removeClasses("test", model, dependencies, removed)),
    await outputsOf(masked(model, dependencies.cuts, isRemoved)),
  ];
  return { smaller, zeroed, removed: removed.size };
}

function expectEqual(smaller: Tensor<"float32">, zeroed: Tensor<"float32">) {
  const scale = Math.max(...zeroed.data.map(Math.abs));
  expect(smaller.shape).toEqual(zeroed.shape);
  expect(scale).toBeGreaterThan(1e-4);
  smaller.data.forEach((value, at) => {
    expect(Math.abs(value - zeroed.data[at]!)).toBeLessThanOrEqual(1e-5 * scale);
  });
}

describe("a network without some channels answers as the one with their weights at 0", () => {
  it.each([
    ["onnx/resnet20", 0.5, 4, 30],
    ["onnx/resnet20", 0.7, 1, 20],
    ["onnx/vgg", 0.5, 2, 4],
    ["onnx/densenet", 0.6, 2, 6],
    ["onnx/mobilenet", 0.5, 4, 20],
    ["import/mobilenet-dynamo-20", 0.5, 2, 4],
    ["import/mobilenet-torchscript-13", 0.5, 2, 4],
    ["import/resnet-dynamo-18", 0.5, 2, 4],
    ["import/keras-cnn-17", 0.5, 2, 2],
    ["import/vit-dynamo-23", 0.5, 4, 34],
    ["import/vit-torchscript-17", 0.5, 4, 34],
    ["import/gpt2-dynamo-18", 0.5, 4, 8],
    ["import/gpt2-torchscript-14", 0.5, 4, 8],
    ["import/opt-torchscript-14", 0.5, 4, 8],
    ["import/keras-transformer-15", 0.5, 4, 8],
    ["import/resnet-torchscript-11", 0.5, 2, 4],
    ["onnx/transformer", 0.5, 4, 8],
  ])("%s, %d kept in blocks of %d", async (name, keep, multipleOf, least) => {
    const { smaller, zeroed, removed } = await compared(fixture(name), keep, multipleOf);
    expect(removed).toBeGreaterThanOrEqual(least);
    expectEqual(smaller, zeroed);
  });

  const conv = (random: ReturnType<typeof generator>, from: number, to: number, group = 1) => {
    const shape = [to, from / group, 3, 3];
    const size = shape.reduce((product, side) => product * side, 1);
    return tensor(
      "float32",
      shape,
      Float32Array.from({ length: size }, () => random.normal() / 3),
    );
  };
  const traced = (
    network: (x: Value, weight: (from: number, to: number, group?: number) => Tensor) => Value,
    opset: 12 | 17 = 17,
  ): Model => {
    const random = generator(3);
    const program = trace(({ x }) => ({ logits: network(x, (from, to, group) => conv(random, from, to, group)) }), {
      x: spec("float32", ["n", 3, 8, 8]),
    });
    return programToModel(program, { opset });
  };
  const end = (x: Value, classes: number, features: number) =>
    ops.linear(
      ops.flatten(x),
      tensor(
        "float32",
        [classes, features],
        Float32Array.from({ length: classes * features }, (_, at) => Math.sin(at)),
      ),
    );

  it("heads and hidden widths of a program's attention: 2 of 4 heads, in a network written with layers", async () => {
    const random = generator(5);
    const params = {
      attention: layers.initMultiHeadAttention(random, { features: 16 }),
      mlp: layers.initMlp(random, [16, 24, 16]),
      last: layers.initLinear(random, { in: 16, out: 3 }),
    };
    const spread = (value: Tensor) =>
      tensor(
        "float32",
        value.shape,
        Array.from({ length: value.data.length }, () => random.normal() / 3),
      );
    const flat = Object.entries(layers.flattenParameters(params)).map(([path, value]) => [path, spread(value)]);
    const weights = layers.unflattenParameters(Object.fromEntries(flat), params);
    const program = trace(
      ({ x, given }) => {
        const seen = ops.add(x, layers.multiHeadAttention(given.attention as never, x, { heads: 4 }));
        const hidden = ops.add(seen, layers.mlp(given.mlp as never, seen, ops.gelu));
        return { logits: layers.linear(given.last as never, ops.mean(hidden, { axes: 1 })) };
      },
      { x: spec("float32", ["n", 6, 16]), given: layers.specsOf(weights) },
    );
    const model = programToModel(program, { constants: { given: weights } });
    const { smaller, zeroed, removed } = await compared(model, 0.5, 4);
    expect(removed).toBe(2 + 12);
    expectEqual(smaller, zeroed);
    const { layers: widths } = await pruneChannels(device, model, { keep: 0.5, multipleOf: 4 });
    expect(widths.map(({ before, after }) => [before, after])).toEqual([
      [48, 24],
      [16, 16],
      [24, 12],
      [16, 16],
      [3, 3],
    ]);
  });

  it("a number that is computed from how many channels there are keeps them", async () => {
    const model = traced((x, weight) => {
      const a = ops.relu(ops.conv(x, weight(3, 8), { padding: 1 }));
      return end(ops.conv(a, weight(8, 4), { padding: 1 }), 5, 4 * 64);
    });
    const graph = model.proto.graph!;
    const relu = graph.node.find(({ opType }) => opType === "Relu")!.output[0]!;
    const node = (opType: string, input: string[], output: string, attribute: object[] = []) =>
      onnx.create(onnx.NodeProtoSchema, { opType, input, output: [output], attribute: attribute as never });
    const to = { name: "to", type: onnx.AttributeType.INT, i: BigInt(onnx.DataType.FLOAT) };
    const second = graph.node.findIndex(({ opType, input }) => opType === "Conv" && input.includes(relu));
    const scaled = graph.node.toSpliced(
      second,
      1,
      node("Shape", [relu], "shape"),
      node("Gather", ["shape", "one"], "count"),
      node("Cast", ["count"], "number", [onnx.create(onnx.AttributeProtoSchema, to)]),
      node("Div", [relu, "number"], "divided"),
      onnx.changed(graph.node[second]!, { input: graph.node[second]!.input.with(0, "divided") }),
    );
    const one = onnx.tensorProto("one", tensor("int64", [], [1n]));
    const initializer = [...graph.initializer, one];
    const counted = { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { node: scaled, initializer }) }) };
    const { layers: widths } = await pruneChannels(device, counted, { keep: 0.5, multipleOf: 2 });
    expect(widths.map(({ after, fixedBy }) => [after, fixedBy])).toEqual([
      [8, "something is computed from their number"],
      [2, undefined],
      [5, "they are the output logits"],
    ]);
  });

  it.each<[string, Model]>([
    [
      "the same tensor twice in a Concat",
      traced((x, weight) => {
        const y = ops.relu(ops.conv(x, weight(3, 8), { padding: 1 }));
        return end(ops.conv(ops.concat([y, y], 1), weight(16, 4), { padding: 1 }), 5, 4 * 64);
      }),
    ],
    [
      "a Concat of different widths, one of them read twice",
      traced((x, weight) => {
        const a = ops.relu(ops.conv(x, weight(3, 8), { padding: 1 }));
        const b = ops.relu(ops.conv(a, weight(8, 12), { padding: 1 }));
        const c = ops.relu(ops.conv(ops.concat([b, a], 1), weight(20, 8), { padding: 1 }));
        return end(ops.add(c, a), 5, 8 * 64);
      }),
    ],
    [
      "a flatten of many places before the linear layer, behind a depthwise convolution",
      traced((x, weight) => {
        const a = ops.relu(ops.conv(x, weight(3, 8), { padding: 1, stride: 2 }));
        return end(ops.relu(ops.conv(a, weight(8, 8, 8), { padding: 1, groups: 8 })), 5, 8 * 16);
      }),
    ],
    [
      "a grouped convolution, which keeps its channels",
      traced((x, weight) => {
        const a = ops.relu(ops.conv(x, weight(3, 8), { padding: 1 }));
        const b = ops.relu(ops.conv(a, weight(8, 8, 2), { padding: 1, groups: 2 }));
        return end(ops.relu(ops.conv(b, weight(8, 12), { padding: 1 })), 5, 12 * 64);
      }),
    ],
    ...([12, 17] as const).map((opset): [string, Model] => [
      `a gate: one half of the channels times the other, operators ${opset}`,
      traced((x, weight) => {
        const [a, b] = ops.split(ops.conv(x, weight(3, 16), { padding: 1 }), [8, 8], 1) as [Value, Value];
        return end(ops.mul(a, ops.sigmoid(b)), 5, 8 * 64);
      }, opset),
    ]),
    [
      "a shortcut padded with zero channels",
      traced((x, weight) => {
        const a = ops.relu(ops.conv(x, weight(3, 8), { padding: 1 }));
        const b = ops.conv(ops.relu(ops.conv(a, weight(8, 16), { padding: 1 })), weight(16, 16), { padding: 1 });
        const wide = ops.pad(a, [
          [0, 0],
          [4, 4],
          [0, 0],
          [0, 0],
        ]);
        return end(ops.relu(ops.add(b, wide)), 5, 16 * 64);
      }),
    ],
  ])("%s", async (_, model) => {
    const { smaller, zeroed, removed } = await compared(model, 0.5, 2);
    expect(removed).toBeGreaterThan(3);
    expectEqual(smaller, zeroed);
  });
});

describe("widths", () => {
  it("are whole blocks of the least important channels, by layer", async () => {
    const model = fixture("onnx/vgg");
    const { layers } = await pruneChannels(device, model, { keep: 0.5, multipleOf: 4 });
    for (const { before, after, fixedBy } of layers) {
      if (fixedBy !== undefined) expect(after, fixedBy).toBe(before);
      else expect([after % 4, after < before, after >= before / 2]).toEqual([0, before > 4, true]);
    }
    expect(layers.at(-1)!.fixedBy).toMatch(/output/);
  });

  it("stay where the block does not fit, and with keep 1 nothing changes", async () => {
    const model = fixture("onnx/resnet20");
    const wide = await pruneChannels(device, model, { keep: 0.5, multipleOf: 64 });
    expect(wide.layers.every(({ before, after }) => before === after)).toBe(true);
    expect((await outputsOf(wide.model)).data).toEqual((await outputsOf(model)).data);
    const all = await pruneChannels(device, model, { keep: 1 });
    expect((await outputsOf(all.model)).data).toEqual((await outputsOf(model)).data);
  });

  it("say so where less than a block was asked for, and one stays", async () => {
    const { layers, notes } = await pruneChannels(device, fixture("onnx/vgg"), { keep: 0.01, multipleOf: 2 });
    const first = layers[0]!;
    expect([first.after, notes[0]]).toEqual([
      2,
      `"${first.weight}" kept 2 of its ${first.before} channels, a whole block, where ${0.01 * first.before} were asked for`,
    ]);
    const usual = await pruneChannels(device, fixture("onnx/vgg"), { keep: 0.5, multipleOf: 2 });
    expect(usual.notes).toEqual([]);
  });

  it("are multiples of the processor's own block by default", async () => {
    const block = (await channelBlocks()) ?? 16;
    const { layers } = await pruneChannels(device, fixture("onnx/transformer"), { keep: 0.5 });
    expect(layers.some(({ before, after }) => after < before)).toBe(true);
    for (const { before, after } of layers) expect(after === before || after % block === 0).toBe(true);
  });

  it("follow scores that are given", async () => {
    const model = fixture("onnx/vgg");
    const first = model.proto.graph!.initializer.find(({ dims }) => dims.length === 4)!;
    const [channels, ...rest] = first.dims.map(Number) as [number, ...number[]];
    const stride = rest.reduce((product, side) => product * side, 1);
    // Of the first layer only its last two channels matter.
    const scores = {
      [first.name]: Float32Array.from({ length: channels * stride }, (_, at) =>
        at < (channels - 2) * stride ? 0 : 1e6,
      ),
    };
    const { model: smaller } = await pruneChannels(device, model, { keep: 2 / channels, multipleOf: 2, scores });
    const kept = onnx.hostTensor("test", smaller.proto.graph!.initializer.find(({ name }) => name === first.name)!);
    const before = onnx.hostTensor("test", first).data.subarray((channels - 2) * stride);
    expect(kept.data.subarray(0, 1)).toHaveLength(1);
    expect(kept.shape[0]).toBe(2);
    expect([...(kept.data as Float32Array)]).toEqual([...(before as Float32Array)]);
  });
});

it("an exit network is pruned with its heads, and runs in stages", async () => {
  const network = tinyNetwork();
  const exits = toExitModel(network, network.init(generator(2)));
  const { model, layers } = await pruneChannels(device, exits.model, { keep: 0.5, multipleOf: 2 });
  const smaller = { ...exits, model };
  expect(layers.slice(0, 2).map(({ before, after }) => [before, after])).toEqual([
    [6, 4],
    [8, 4],
  ]);
  const [before, after] = [await countExitCosts(device, exits), await countExitCosts(device, smaller)];
  expect(after.full).toBe(64 * 4 * 2 * 9 + 16 * 4 * 4 * 9 + 4 * 3);
  expect(after.full).toBeLessThan(before.full);
  const x = tensor(
    "float32",
    [5, 2, 8, 8],
    Float32Array.from({ length: 640 }, (_, at) => Math.sin(at)),
  );
  async function* batches() {
    yield { x, y: Int32Array.from([0, 1, 2, 0, 1]) };
  }
  const record = await recordExits(device, smaller, batches());
  const staged = await openStaged(device, smaller);
  const { predictions } = await staged.classify(x, [0, 0]);
  expect([...predictions]).toEqual([...record.predictions[0]!]);
  await staged.release();
});

it("what is left is a plain network: it is read back, trained further and quantised", async () => {
  const { model } = await pruneChannels(device, fixture("onnx/vgg"), { keep: 0.5, multipleOf: 4 });
  expect((await outputsOf(readModel(writeModel(model)))).data).toEqual((await outputsOf(model)).data);
  const [tap] = proposeCuts(model);
  const network = exitNetwork(importBackbone(model, { taps: [tap!] }), [{ tap: tap!, head: heads.mixedPool() }]);
  const [input] = describeModel(model).inputs;
  const random = generator(4);
  const sample = input!.shape.slice(1) as number[];
  const size = 8 * sample.reduce((product, side) => product * side, 1);
  const x = tensor(
    "float32",
    [8, ...sample],
    Array.from({ length: size }, () => random.normal()),
  );
  const { history } = await trainExits(device, network, training.tensorDataset({ x, y: tensor("int64", [8]) }), {
    trains: "all",
    batchSize: 8,
    epochs: 3,
    generator: random,
    optimiser: optimisers.adam(),
    learningRate: 0.01,
  });
  expect(history[2]!.loss).toBeLessThan(history[0]!.loss);
  const { report } = await quantiseModel(device, model, [{ [input!.name]: x }]);
  expect(report.layers.filter(({ bits }) => bits === 8).length).toBeGreaterThan(3);
});

it("what is left, and it in 8 bits, are members of a cascade with the whole network", async () => {
  const backbone = tinyNetwork().backbone;
  const whole = backbone.toModel(backbone.params);
  const { model: smaller } = await pruneChannels(device, whole, { keep: 0.5, multipleOf: 2 });
  const input = describeModel(whole).inputs[0]!.name;
  const x = tensor(
    "float32",
    [12, 2, 8, 8],
    Array.from({ length: 12 * 128 }, (_, at) => Math.sin(at * at)),
  );
  const { model: small8 } = await quantiseModel(device, smaller, [{ [input]: x }]);
  const answersOf = async (model: Model) => {
    const session = await device.load(model);
    const { data, shape } = (await session.run({ [input]: x }))[describeModel(model).outputs[0]!.name]!;
    await session.release();
    const k = shape[1]!;
    return Array.from({ length: shape[0]! }, (_, row) => {
      const scores = [...(data as Float32Array).subarray(row * k, (row + 1) * k)];
      return scores.indexOf(Math.max(...scores));
    });
  };
  const members = [small8, smaller, whole];
  const answers = await Promise.all(members.map(answersOf));
  const staged = await openStaged(
    device,
    cascade(members.map((model, at) => ({ name: `member${at}`, model: readModel(writeModel(model)) }))),
  );
  const settings = [
    [ALWAYS, ALWAYS],
    [NEVER, ALWAYS],
    [NEVER, NEVER],
  ];
  for (const [at, thresholds] of settings.entries()) {
    const { predictions, leftAt } = await staged.classify(x, thresholds);
    expect([...leftAt]).toEqual(new Array(12).fill(at));
    expect([...predictions]).toEqual(answers[at]);
  }
  await staged.release();
  const costs = await countExitCosts(
    device,
    cascade([
      { name: "small", model: smaller },
      { name: "whole", model: whole },
    ]),
  );
  expect(costs.exits[0]! / costs.full).toBeLessThan(0.75);
});

describe("what is refused", () => {
  it.each<[string, object, RegExp]>([
    ["keep 0", { keep: 0 }, /"keep"/],
    ["keep above 1", { keep: 1.5 }, /"keep"/],
    ["keep that is no number", { keep: Number.NaN }, /"keep"/],
    ["an unknown option", { keep: 0.5, share: 1 }, /unknown option "share"/],
    ["scores of another size", { keep: 0.5, scores: { first: new Float32Array(1) } }, /must be \d+ numbers; got 1/],
  ])("%s", async (_, options, message) => {
    const model = fixture("onnx/vgg");
    const name = model.proto.graph!.initializer.find(({ dims }) => dims.length === 4)!.name;
    const renamed = "scores" in options ? { ...options, scores: { [name]: new Float32Array(1) } } : options;
    await expect(pruneChannels(device, model, renamed as never)).rejects.toThrow(message);
  });

  it("weights that are not finite, and what is no device", async () => {
    const model = fixture("onnx/vgg");
    const graph = model.proto.graph!;
    const bad = graph.initializer.map((weight) => {
      if (weight.dims.length !== 4) return weight;
      const held = onnx.hostTensor("test", weight) as Tensor<"float32">;
      return onnx.tensorProto(
        weight.name,
        tensor(
          "float32",
          held.shape,
          held.data.map(() => Number.NaN),
        ),
      );
    });
    const broken = { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { initializer: bad }) }) };
    await expect(pruneChannels(device, broken, { keep: 0.5 })).rejects.toThrow(/must be finite; got NaN/);
    await expect(pruneChannels(null as never, model, { keep: 0.5 })).rejects.toThrow(/a device is needed/);
  });
});
