import {
  type Device,
  generator,
  importModel,
  layers,
  type Model,
  onnx,
  openDevice,
  ops,
  optimisers,
  spec,
  type Tensor,
  tensor,
  type Value,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nearest } from "../src/exits/taps-at-shares.ts";
import {
  branchyNet,
  countExitCosts,
  type ExitCosts,
  type ExitNetwork,
  type ExitParameters,
  exitNetwork,
  heads,
  importBackbone,
  programBackbone,
  recordExits,
  shallowDeep,
  tapsAtShares,
  toExitModel,
  trainExits,
} from "../src/index.ts";
import { dataset, pictures, tinyBackbone, tinyNetwork, trainingOptions } from "./exit-networks.ts";
import { expectNumbers } from "./golden.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const written = tinyBackbone();
const taps = Object.keys(written.taps);
const file = written.toModel(written.params);
const flat = (params: ExitParameters): Record<string, Tensor> => layers.flattenParameters(params);

async function logitsOf(model: Model, x: Tensor) {
  const session = await device.load(model);
  const results = await session.run({ x });
  await session.release();
  return results;
}

describe("a backbone", () => {
  it("of a program is an ONNX model with its taps by name and the logits as its only output", async () => {
    const graph = file.proto.graph!;
    expect(graph.output.map(({ name }) => name)).toEqual(["logits"]);
    expect(graph.node.flatMap(({ output }) => output)).toEqual(expect.arrayContaining(taps));
    expect(written.taps).toEqual({ stem: [16, 8, 8], block: [16, 8, 8], down: [16, 4, 4] });
    expect([
      written.classes,
      written.isTrainable("stem.norm.runningMean"),
      written.isTrainable("stem.norm.bias"),
    ]).toEqual([4, false, true]);
  });

  it("of an ONNX file keeps its nodes and the names of its weights, dots and all", async () => {
    const imported = importBackbone(file, { taps });
    expect(Object.keys(imported.params)).toContain("params.stem.conv.weight");
    expect([imported.taps, imported.classes, imported.opset, imported.input.shape]).toEqual([
      written.taps,
      4,
      17,
      ["n", 3, 8, 8],
    ]);
    const network = tinyNetwork(imported);
    const { params } = await trainExits(device, network, dataset(32), trainingOptions({ trains: "all", epochs: 1 }));
    const trained = imported.toModel(params.backbone);
    expect(trained.proto.graph!.node).toEqual(file.proto.graph!.node);
    const before = importModel(file).params;
    for (const [name, value] of Object.entries(importModel(trained).params)) {
      expect(value.data, name).not.toEqual(before[name]!.data);
      expect(value.data, name).toEqual((params.backbone as Record<string, Tensor>)[name]!.data);
    }
  });

  it.each(["all", "exits"] as const)("is trained alike as a program and as a file (%s)", async (trains) => {
    const networks: ExitNetwork[] = [tinyNetwork(written), tinyNetwork(importBackbone(file, { taps }))];
    const [program, imported] = await Promise.all(
      networks.map(async (network) => {
        const changed = { trains, epochs: 2, optimiser: optimisers.sgd({ momentum: 0.9 }) };
        return trainExits(device, network, dataset(48), trainingOptions(changed));
      }),
    );
    const other = flat(imported!.params);
    for (const [path, { data }] of Object.entries(flat(program!.params))) {
      const same = other[path.replace(/^backbone\./, "backbone.params.")]!;
      expectNumbers(same.data, data, 4, path);
    }
    const x = pictures(8).x;
    const [a, b] = [
      await logitsOf(networks[0]!.backbone.toModel(program!.params.backbone), x),
      await logitsOf(networks[1]!.backbone.toModel(imported!.params.backbone), x),
    ];
    expectNumbers(b.logits!.data, a.logits!.data, 3);
  });

  it("with an operator that has no gradient can have its exits trained, and not be trained itself", async () => {
    const graph = file.proto.graph!;
    // Rounding by a node no rule imports: Hardmax of the stem, added to it.
    const opaque = onnx.create(onnx.NodeProtoSchema, {
      opType: "Hardmax",
      input: ["stem"],
      output: ["hard"],
      name: "hard",
    });
    const add = onnx.create(onnx.NodeProtoSchema, { opType: "Add", input: ["stem", "hard"], output: ["mixed"] });
    const at = graph.node.findIndex(({ output }) => output.includes("stem"));
    const behind = graph.node
      .slice(at + 1)
      .map((node) => onnx.changed(node, { input: node.input.map((name) => (name === "stem" ? "mixed" : name)) }));
    const node = [...graph.node.slice(0, at + 1), opaque, add, ...behind];
    const model = { proto: onnx.changed(file.proto, { graph: onnx.changed(graph, { node }) }) };
    const backbone = importBackbone(model, { taps: ["mixed"], shapes: { hard: ["n", 16, 8, 8] } });
    const network = exitNetwork(backbone, [{ tap: "mixed", head: heads.linear() }]);
    const { steps } = await trainExits(device, network, dataset(32), trainingOptions({ epochs: 1 }));
    expect(steps).toBe(2);
    const whole = trainExits(device, network, dataset(32), trainingOptions({ trains: "all", epochs: 1 }));
    await expect(whole).rejects.toThrow(/must have a gradient/);
  });
});

describe("places of exits", () => {
  it("are Shallow-Deep Networks' own in ResNet-56", () => {
    // MACs after each of 9 + 9 + 9 blocks, shortcuts by 1×1 convolutions; exits there follow blocks 4, 8, 12, 16, 20, 24.
    const conv = 16 * 16 * 9 * 32 * 32;
    const blocks = Array.from({ length: 27 }, (_, at) =>
      at === 9 || at === 18 ? conv / 2 + conv + conv / 18 : 2 * conv,
    );
    let done = 3 * 16 * 9 * 32 * 32;
    const after = blocks.map((macs) => (done += macs));
    const full = done + 64 * 10;
    const found = nearest(
      after.map((macs) => macs / full),
      [0.15, 0.3, 0.45, 0.6, 0.75, 0.9],
    );
    expect([...found].map((at) => at + 1)).toEqual([4, 8, 12, 16, 20, 24]);
  });

  it("are the taps nearest to the shares, each once", async () => {
    // Shares of the tiny network's cost: .13, .82, .9997.
    expect(await tapsAtShares(device, written, [0.1, 0.2, 0.7])).toEqual(["stem", "block"]);
    expect(await tapsAtShares(device, written, [0.95])).toEqual(["down"]);
    await expect(tapsAtShares(device, written, [0.5, 1])).rejects.toThrow(
      "early-exit.tapsAtShares: shares must be numbers above 0 and below 1; got [0.5, 1].",
    );
  });

  it("come in the order of the network, whatever they are called", async () => {
    const random = generator(1);
    const eight = () => layers.initLinear(random, { in: 8, out: 8 });
    const backbone = programBackbone({
      params: { a: eight(), b: eight(), c: eight(), last: layers.initLinear(random, { in: 8, out: 3 }) },
      input: spec("float32", ["n", 8]),
      apply: (params, x) => {
        const first = layers.linear(params.a, x);
        const active = ops.relu(first);
        const second = layers.linear(params.b, active);
        const third = layers.linear(params.c, second);
        return { taps: { first, 1: active, 129: second, 7: third }, logits: layers.linear(params.last, third) };
      },
    });
    expect(Object.keys(backbone.taps)[0]).toBe("1");
    // Shares of the cost: .30 twice, .59, .89.
    const taps = await tapsAtShares(device, backbone, [0.3, 0.6, 0.9]);
    expect(taps).toEqual(["first", "129", "7"]);
    const network = exitNetwork(
      backbone,
      taps.map((tap) => ({ tap, head: heads.linear() })),
    );
    expect(network.exits).toHaveLength(3);
  });
});

describe("methods", () => {
  const costs: ExitCosts = { exits: [20, 50, 90, 110], full: 100 };

  it.each([
    ["branchyNet", branchyNet(costs), [0.2, 0.5, 0.9, 1], "normalisedEntropy", "last"],
    ["shallowDeep, exits", shallowDeep({ trains: "exits", costs }), [1, 1, 1, 0], "maxProbability", "mostConfident"],
    [
      "shallowDeep, all",
      shallowDeep({ trains: "all", costs }),
      [0.11, 0.26, 0.46, 1],
      "maxProbability",
      "mostConfident",
    ],
  ] as const)("%s trains and decides as its paper says", async (_, method, weights, confidence, whenNoneIsSure) => {
    const afterOne = method.training.lossWeights({ epoch: 1, epochs: 2, progress: 0.5 });
    expectNumbers(afterOne, weights, 12);
    expect(method.rule).toEqual({ confidence, whenNoneIsSure });
    const network = tinyNetwork();
    const rules = { ...method.training, batchSize: 16, epochs: 2, generator: generator(1) };
    const { params, history } = await trainExits(device, network, dataset(64), rules);
    expect(history[1]!.losses[2]).toBeLessThan(history[0]!.losses[2]!);
    const model = toExitModel(network, params, method.rule);
    expect((await recordExits(device, model, [pictures(8)])).exits).toEqual(["exit1", "exit2", "exit3", "full"]);
    expect((await countExitCosts(device, model)).exits.length).toBe(4);
  });

  it("refuse unknown options", () => {
    expect(() => shallowDeep({ trains: "some" as "all", costs })).toThrow(/early-exit\.shallowDeep: .*option "trains"/);
  });
});

describe("networks that cannot be are refused", () => {
  const head = heads.linear();

  it("without exits, with unknown taps, taken names, or taps out of order", () => {
    expect(() => exitNetwork(written, [])).toThrow(
      "early-exit.exitNetwork: at least one early exit is needed; got none.",
    );
    expect(() => exitNetwork(written, [{ tap: "blok", head }])).toThrow(
      'early-exit.exitNetwork: exit 0 must read a tap of the backbone; got "blok". Did you mean "block"?',
    );
    expect(() => exitNetwork(written, [{ name: "full", tap: "stem", head }])).toThrow('got "full" twice');
    const twice = [
      { name: "a", tap: "stem", head },
      { name: "a", tap: "block", head },
    ];
    expect(() => exitNetwork(written, twice)).toThrow('exit names must differ; got "a" twice');
    const swapped = [
      { tap: "block", head },
      { tap: "stem", head },
    ];
    expect(() => exitNetwork(written, swapped)).toThrow(/"stem"/);
    expect(() => exitNetwork(written, [{ tap: "stem", head: "linear" as unknown as heads.Head }])).toThrow(
      'exit "stem" must have a head; got string.',
    );
    const refused = (plan: object, pattern: RegExp) =>
      expect(() => exitNetwork(written, [{ tap: "stem", head, ...plan }])).toThrow(pattern);
    refused({ name: "" }, /^early-exit\.exitNetwork: exit 0 must be \{ name\?, tap, head \}; got name: .*1 character/);
    refused({ heads: [head] }, /exit 0 must be .*; got Unrecognized key: "heads"/);
    refused({ tap: 3 }, /exit 0 must be .*; got tap: /);
  });

  it("with heads for other features or of another number of classes", () => {
    const flatNetwork = programBackbone({
      params: { last: layers.initLinear(generator(1), { in: 4, out: 3 }) },
      input: spec("float32", ["n", 4]),
      apply: (params, x) => {
        const hidden = ops.relu(x);
        return { taps: { hidden }, logits: layers.linear(params.last, hidden) };
      },
    });
    expect(() => exitNetwork(flatNetwork, [{ tap: "hidden", head: heads.mixedPool() }])).toThrow(
      "early-exit.heads.mixedPool: features of one sample must be [c, h, w]; got [4].",
    );
    const narrow: heads.Head = { ...head, apply: (_, x: Value) => ({ logits: x, updated: {} }) };
    expect(() => exitNetwork(flatNetwork, [{ tap: "hidden", head: narrow }])).toThrow(
      'early-exit.exitNetwork: exit "hidden" must give logits [n, 3], as the backbone does; got [n, 4].',
    );
  });

  it("with programs that name no taps, take their names, or give no logits", () => {
    const build = (names: readonly string[], input = spec("float32", ["n", 4]), rows = false) =>
      programBackbone({
        params: { weight: tensor("float32", [3, 4]) },
        input,
        apply: ({ weight }, x) => {
          const logits = ops.linear(x, weight);
          const taps = Object.fromEntries(names.map((name) => [name, ops.relu(x)]));
          return { taps, logits: rows ? ops.unsqueeze(logits, [1, 2]) : logits };
        },
      });
    expect(() => build(["a"])).not.toThrow();
    expect(() => build([])).toThrow("early-exit.programBackbone: the network must name features that exits read");
    expect(() => build(["x"])).toThrow('taps may not be called "x", "logits" or nothing; got "x".');
    expect(() => build(["a"], spec("float32", [2, 4]))).toThrow(
      "a symbol for the batch, then numbers; got float32 [2, 4].",
    );
    expect(() => build(["a"], undefined, true)).toThrow(
      '"logits" must be logits float32 [n, k], or [n, u, k] of u tokens, with known k ≥ 2 and u; got float32 [n, 1, 1, 3].',
    );
    expect(() => programBackbone({ params: {}, input: spec("float32", ["n", 4]), taps: [] } as never)).toThrow(
      /unknown option "taps"/,
    );
  });

  it("with files that have unknown taps, several outputs, or a fixed batch", () => {
    expect(() => importBackbone(file, { taps: ["stm"] })).toThrow(
      'early-exit.importBackbone: taps must be tensors that the graph computes; got "stm". Did you mean "stem"?',
    );
    expect(() => importBackbone(file, { taps: [] })).toThrow(/option "taps"/);
    expect(() => importBackbone(file, { taps, output: "stem" })).toThrow("output must be an output of the model");
    expect(() => importBackbone("file" as unknown as Model, { taps })).toThrow(
      "the model must be a Model; got string.",
    );
    expect(() => importBackbone(file, { taps, shapes: { x: [1, 3, 8, 8] } })).toThrow(
      'input "x" must be [n, …]: a symbol for the batch, then numbers; got float32 [1, 3, 8, 8].',
    );
  });
});
