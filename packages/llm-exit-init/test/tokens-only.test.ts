import { fileURLToPath } from "node:url";
import {
  generator,
  gradients,
  importModel,
  layers,
  type Model,
  onnx,
  openDevice,
  ops,
  optimisers,
  proposeCuts,
  readModelFile,
  spec,
  type Tensor,
  tensor,
  trace,
  training,
} from "@exitkit/core-gpu";
import { exitNetwork, heads, importBackbone, trainExits } from "@exitkit/early-exit";
import { afterAll, describe, expect, test } from "vitest";
import { tokensOnly } from "../src/index.ts";
import { compute, error } from "./decoder-fixtures.ts";
import { onnxGolden } from "./onnx-fixtures.ts";

// Made by fixtures/generate_onnx.py: exports with attention mask, positions, past keys and values.
const folder = fileURLToPath(new URL("../fixtures/onnx/", import.meta.url));

const device = await openDevice("cpu");
afterAll(() => device.close());

describe.each(["llama-past", "gpt2-past"])("%s", (name) => {
  const wanted = onnxGolden(name);

  test("as it is has seven inputs and five outputs; of tokens alone it has PyTorch's logits and gradient", async () => {
    const model = await readModelFile(`${folder}${name}.onnx`);
    expect(Object.keys(importModel(model).inputs)).toHaveLength(7);
    const network = importModel(tokensOnly(model), { shapes: { input_ids: ["n", 7] } });
    expect([Object.keys(network.inputs), Object.keys(network.outputs), network.opaque]).toEqual([
      ["input_ids"],
      ["logits"],
      [],
    ]);
    // The last norm's weight: what the exporter calls it is its own affair.
    const [norm] = Object.entries(network.params).find(([, { data }]) => data.join() === wanted.weight!.data.join())!;
    const program = trace(
      ({ params, tokens }) => {
        const { logits } = network.apply(params, { input_ids: tokens });
        const before = ops.reshape(ops.slice(logits!, { axis: 1, to: 6 }), [12, 40]);
        const loss = ops.crossEntropy(before, ops.reshape(ops.slice(tokens, { axis: 1, from: 1 }), [12]));
        return { logits: logits!, gradient: gradients(loss, params[norm]!) };
      },
      { params: network.params, tokens: spec("int64", [2, 7]) },
    );
    const params = layers.flattenParameters({ params: network.params });
    const { logits, gradient } = await compute(device, program, { ...params, tokens: wanted.tokens! });
    expect(error(logits!, wanted.logits!)).toBeLessThan(2e-5);
    expect(error(gradient!, wanted.gradient!)).toBeLessThan(1e-4);
  });

  test("it runs in ONNX Runtime of tokens alone, of any number", async () => {
    const session = await device.load(tokensOnly(await readModelFile(`${folder}${name}.onnx`)));
    const { logits } = await session.run({ input_ids: wanted.tokens! });
    expect(error(logits!, wanted.logits!)).toBeLessThan(2e-5);
    const one = await session.run({ input_ids: tensor("int64", [1, 1], [Number(wanted.tokens!.data[0])]) });
    expect(
      error(one.logits!, { ...wanted.logits!, shape: [1, 1, 40], data: wanted.logits!.data.slice(0, 40) } as Tensor),
    ).toBeLessThan(2e-5);
    await session.release();
  });

  test("exits for each token are trained on it, the decoder frozen", async () => {
    const model = tokensOnly(await readModelFile(`${folder}${name}.onnx`));
    const taps = proposeCuts(model).slice(0, 1);
    const backbone = importBackbone(model, { taps, shapes: { input_ids: ["n", 7] } });
    expect([backbone.classes, backbone.units, backbone.taps[taps[0]!]]).toEqual([40, 7, [7, 16]]);
    const network = exitNetwork(backbone, [{ tap: taps[0]!, head: heads.linear({ tokens: "each" }) }]);
    const random = generator(1);
    const ids = BigInt64Array.from({ length: 32 * 7 }, () => BigInt(random.integer(40)));
    const data = training.tensorDataset({ x: tensor("int64", [32, 7], ids), y: tensor("int64", [32, 7], ids) });
    // The token itself can be read off its state; the mean loss of 40 even classes is ln 40.
    const { history, params } = await trainExits(device, network, data, {
      trains: "exits",
      batchSize: 8,
      epochs: 30,
      generator: generator(2),
      optimiser: optimisers.adam(),
      learningRate: 0.05,
    });
    expect(history.at(-1)!.losses[0]!).toBeLessThan(0.5 * Math.log(40));
    expect(params.backbone).toEqual(backbone.params);
  });
});

describe("refuses", () => {
  const changed = async (change: (graph: onnx.GraphProto) => Partial<onnx.GraphProto>): Promise<Model> => {
    const { proto } = await readModelFile(`${folder}llama-past.onnx`);
    return { proto: onnx.changed(proto, { graph: onnx.changed(proto.graph!, change(proto.graph!)) }) };
  };
  const renamed = (list: readonly onnx.ValueInfoProto[], from: string, to: string) =>
    list.map((info) => (info.name === from ? onnx.changed(info, { name: to }) : info));

  test("an input that no decoder has, no tokens, no logits, past keys of unknown width, and what is no model", async () => {
    const strange = await changed(({ input }) => ({ input: renamed(input, "position_ids", "encoder_hidden_states") }));
    expect(() => tokensOnly(strange)).toThrow(
      /must be those of a decoder; got "encoder_hidden_states"\. Known beside input_ids/,
    );
    const silent = await changed(({ input }) => ({ input: renamed(input, "input_ids", "tokens") }));
    expect(() => tokensOnly(silent)).toThrow(/must have an input "input_ids" and an output "logits"; got "tokens"/);
    const open = await changed(({ input }) => ({
      input: input.map((info) =>
        info.name === "past_key_values.0.key" ? onnx.changed(info, { type: input[0]!.type! }) : info,
      ),
    }));
    expect(() => tokensOnly(open)).toThrow(
      /"past_key_values\.0\.key" must be \[n, heads, past, h\] with known heads and h/,
    );
    expect(() => tokensOnly(null as never)).toThrow(/the model must be a Model/);
  });
});
