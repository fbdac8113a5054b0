// Networks in which a sample's answer depends on the others of its batch (core-gpu/fixtures/odd).
import { readFileSync } from "node:fs";
import {
  addTaps,
  attachModel,
  type Device,
  generator,
  openDevice,
  ops,
  programToModel,
  readModel,
  rows,
  spec,
  tensor,
  trace,
  training,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  confidences,
  type ExitModel,
  exportStages,
  fitTemperature,
  importBackbone,
  openStaged,
  recordExits,
} from "../src/index.ts";

const folder = new URL("../../core-gpu/fixtures/odd/", import.meta.url);
const odd = (name: string) => readModel(readFileSync(new URL(`${name}.onnx`, folder)));
const facts = JSON.parse(readFileSync(new URL("facts.json", folder), "utf8")) as { readonly x: readonly number[] };
const x = tensor("float32", [6, 3, 8, 8], facts.x);

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** The network with an exit behind `r1` that answers by its four first channels, and the network's own answer. */
function withExits(name: string, last = "logits"): ExitModel {
  let model = odd(name);
  const exits = ["r1", last].map((tap, at) => {
    const shape = tap === "r1" ? ["n", 8, 8, 8] : ["n", 4];
    const part = trace(
      ({ x }) => {
        const scores = tap === "r1" ? ops.mean(ops.slice(x, { axis: 1, from: 0, to: 4 }), { axes: [2, 3] }) : x;
        const flat = ops.reshape(scores, [-1, 4]);
        return {
          confidence: ops.max(ops.softmax(flat), { axes: [1], keepDimensions: false }),
          prediction: ops.argMax(flat, { axis: 1 }),
        };
      },
      { x: spec("float32", shape) },
    );
    const attached = attachModel(model, programToModel(part), { prefix: `exit${at}`, inputs: { x: tap } });
    model = attached.model;
    const { confidence, prediction } = attached.outputs as { confidence: string; prediction: string };
    return { name: `exit${at}`, tap, confidence, prediction };
  });
  return {
    model: addTaps(
      model,
      exits.flatMap(({ confidence, prediction }) => [confidence, prediction]),
    ),
    input: "x",
    exits,
  };
}

const refusals = [
  ["bntrain", /others of its batch; got a difference of .* % of the largest score by BatchNormalization node ".*"/],
  ["dynq", /others of its batch; got a difference of .* % of the largest score by DynamicQuantizeLinear node ".*"/],
] as const;

describe.each(refusals)("%s", (name, message) => {
  it("is refused by the operator's name wherever batches are run, with a way out", async () => {
    const network = withExits(name);
    await expect(openStaged(device, network)).rejects.toThrow(message);
    await expect(openStaged(device, network, { execution: "sessions" })).rejects.toThrow("oneByOne: true");
    await expect(exportStages(device, network)).rejects.toThrow(message);
    await expect(recordExits(device, network, [{ x, y: [0, 1, 2, 3, 0, 1] }])).rejects.toThrow(message);
  });

  it.each(["fused", "sessions"] as const)(
    "one by one its answers are those of single samples (%s)",
    async (execution) => {
      const network = withExits(name);
      const staged = await openStaged(device, network, { oneByOne: true, execution });
      await expect(staged.classify(x, [0.5])).rejects.toThrow("the model takes 1 sample at a time; got 6.");
      const singles = Array.from({ length: 6 }, (_, at) => ({ x: rows(x, at, at + 1), y: [0] }));
      const record = await recordExits(device, network, singles);
      for (const [at, { x }] of singles.entries()) {
        const { predictions, confidences, leftAt } = await staged.classify(x, [0.28]);
        const exit = leftAt[0]!;
        expect(predictions[0]).toBe(record.predictions[exit]![at]);
        expect(confidences[0]).toBeCloseTo(record.confidences[exit]![at]!, 4);
      }
      await staged.release();
    },
  );
});

it("tensors of ONNX Runtime are samples too", async () => {
  const network = withExits("plain");
  const theirs = { dims: x.shape, type: "float32", data: x.data };
  const staged = await openStaged(device, network);
  expect(await staged.classify(theirs, [0.28])).toEqual(await staged.classify(x, [0.28]));
  await staged.release();
  const y = { dims: [6], type: "int64", data: BigInt64Array.of(0n, 1n, 2n, 3n, 0n, 1n) };
  const own = await recordExits(device, network, [{ x, y: [0, 1, 2, 3, 0, 1] }]);
  expect(await recordExits(device, network, [{ x: theirs, y }])).toEqual(own);
  const { batch, size } = training.tensorDataset({ x: theirs, y });
  expect(size).toBe(6);
  expect((await batch(Int32Array.of(1), generator(1))).x).toEqual(rows(x, 1, 2));
  const session = await device.load(network.model);
  expect(await session.run({ x: theirs })).toEqual(await session.run({ x }));
  await session.release();
  const scores = tensor("float32", [2, 3], [3, 1, 0, 0, 0, 2]);
  const same = { dims: scores.shape, type: "float32", data: scores.data };
  expect(confidences(same, "margin")).toEqual(confidences(scores, "margin"));
  expect(fitTemperature(same, { dims: [2], type: "int64", data: BigInt64Array.of(0n, 1n) })).toBe(
    fitTemperature(scores, Int32Array.of(0, 1)),
  );
});

it("a batch of one that is baked in is told, and taken one by one", async () => {
  const network = withExits("bakedbatch", "out");
  await expect(openStaged(device, network)).rejects.toThrow("the model must take batches of any size");
  const staged = await openStaged(device, network, { oneByOne: true });
  expect((await staged.classify(rows(x, 0, 1), [0.5])).predictions).toHaveLength(1);
  await staged.release();
});

it("a backbone is refused by the operators that are known to mix rows, or taken by name", () => {
  expect(() => importBackbone(odd("bntrain"), { taps: ["r1"] })).toThrow(
    /others of its batch; got BatchNormalization node ".*", which takes something over the batch\. Export the network in evaluation mode/,
  );
  expect(() => importBackbone(odd("dynq"), { taps: ["r1"] })).toThrow(
    /DynamicQuantizeLinear node .* mixedRows: "allow"/,
  );
  expect(importBackbone(odd("bntrain"), { taps: ["r1"], mixedRows: "allow" }).classes).toBe(4);
  expect(importBackbone(odd("plain"), { taps: ["r1"] }).classes).toBe(4);
});
