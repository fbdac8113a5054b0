import { readFile } from "node:fs/promises";
import {
  type Device,
  describeModel,
  generator,
  hashModel,
  InputError,
  type Model,
  onnx,
  openDevice,
  readModel,
  rows,
  sizeOf,
  type Tensor,
  tensor,
  writeModel,
} from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ALWAYS,
  defineExits,
  type ExitModel,
  exportSingle,
  exportStages,
  NEVER,
  openStaged,
  recordExits,
} from "../src/index.ts";
import { exported } from "./exported.ts";
import { GraphWriter, head, randomBatch, residualNetwork, stagedCases, thresholdsBeside, value } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** What fixtures/exported/generate.py saw in Python's ONNX Runtime. */
interface Decisions {
  readonly sha256: Readonly<Record<string, string>>;
  readonly confidences: readonly number[];
  readonly predictions: readonly number[];
  readonly exits: readonly number[];
  readonly convolutionsRun: number;
}
const fixture = (name: string) => readFile(new URL(`../fixtures/exported/${name}`, import.meta.url), "utf8");
const decided: Readonly<Record<keyof typeof exported, Decisions>> = JSON.parse(await fixture("decisions.json"));

/** Runs a single-sample model on every row. */
async function runSingle(model: Model, x: Tensor) {
  const session = await device.load(model);
  const answers = { confidences: [] as number[], predictions: [] as number[], exits: [] as number[] };
  try {
    for (let row = 0; row < x.shape[0]!; row++) {
      const { confidence, prediction, exit } = await session.run({ x: rows(x, row, row + 1) });
      expect([confidence, prediction, exit].map((t) => `${t!.dtype} ${t!.shape}`)).toEqual([
        "float32 1",
        "int64 1",
        "int64 1",
      ]);
      answers.confidences.push(Number(confidence!.data[0]));
      answers.predictions.push(Number(prediction!.data[0]));
      answers.exits.push(Number(exit!.data[0]));
    }
  } finally {
    await session.release();
  }
  return answers;
}

/** Runs exported stages on a batch as their description says, each model decoded from its bytes. */
async function runStages(network: ExitModel, x: Tensor, thresholds: readonly number[]) {
  const { models, stages } = await exportStages(device, network);
  const n = x.shape[0]!;
  const answers = { predictions: new Int32Array(n), exits: new Int32Array(n), confidences: new Float32Array(n) };
  let alive: Record<string, Tensor> = { [network.input]: x };
  let left = Array.from({ length: n }, (_, row) => row);
  for (const [j, stage] of stages.entries()) {
    const session = await device.load(readModel(writeModel(models[j]!)));
    const results = await session.run(Object.fromEntries(stage.inputs.map((name) => [name, alive[name]!])));
    await session.release();
    expect(Object.keys(results).sort()).toEqual([...stage.outputs].sort());
    alive = { ...alive, ...results };
    const goOn: number[] = [];
    left.forEach((row, at) => {
      const confidence = results[stage.confidence]!.data[at] as number;
      answers.confidences[row] = confidence;
      answers.predictions[row] = Number(results[stage.prediction]!.data[at]);
      answers.exits[row] = j;
      if (j < stages.length - 1 && !(confidence > Math.fround(thresholds[j]!))) goOn.push(at);
    });
    if (goOn.length === 0) break;
    const kept = stage.carried.map((name) => [name, pick(alive[name]!, goOn)] as const);
    alive = Object.fromEntries([...kept, ...stage.carriedWhole.map((name) => [name, alive[name]!] as const)]);
    left = goOn.map((at) => left[at]!);
  }
  return answers;
}

function pick(from: Tensor, at: readonly number[]): Tensor {
  const width = sizeOf(from.shape.slice(1));
  const values = at.flatMap((row) => [...(from.data.subarray(row * width, (row + 1) * width) as Float32Array)]);
  return tensor("float32", [at.length, ...from.shape.slice(1)], values) as Tensor;
}

describe.each(["residual", "heads", "cascade"] as const)("against Python's ONNX Runtime: %s", (name) => {
  const { network, batch, thresholds } = exported[name];
  const decisions = decided[name];

  it("is the very file that Python ran", async () => {
    const fix = "what is written has changed: run fixtures/exported/write.mjs, then generate.py";
    expect(hashModel(exportSingle(network, thresholds)), fix).toBe(decisions.sha256["single.onnx"]);
    const { models } = await exportStages(device, network);
    models.forEach((model, j) => {
      expect(hashModel(model), fix).toBe(decisions.sha256[`stage${j}.onnx`]);
    });
  });

  it("describes its stages as the file that Python ran them by", async () => {
    const { stages } = JSON.parse(await fixture(`${name}/stages.json`));
    expect((await exportStages(device, network)).stages).toEqual(stages);
  });

  it("leaves where staged execution leaves, with its answers", async () => {
    const staged = await openStaged(device, network);
    const { predictions, leftAt, confidences } = await staged.classify(batch, thresholds);
    await staged.release();
    expect([...leftAt]).toEqual(decisions.exits);
    expect([...predictions]).toEqual(decisions.predictions);
    expect(new Set(leftAt)).toEqual(new Set([0, 1, 2, 3]));
    confidences.forEach((confidence, row) => {
      expect(Math.abs(confidence - decisions.confidences[row]!)).toBeLessThan(2e-6);
    });
    const here = await runSingle(exportSingle(network, thresholds), batch);
    expect({ ...here, confidences: null }).toEqual({
      predictions: decisions.predictions,
      exits: decisions.exits,
      confidences: null,
    });
  });

  it("computed no convolution behind an exit that was taken", async () => {
    const { models } = await exportStages(device, network);
    const convolutions = models.map(({ proto }) => proto.graph!.node.filter(({ opType }) => opType === "Conv").length);
    const upTo = (exit: number) => convolutions.slice(0, exit + 1).reduce((sum, count) => sum + count, 0);
    const needed = decisions.exits.reduce((sum, exit) => sum + upTo(exit), 0);
    expect(decisions.convolutionsRun).toBe(needed);
    expect(needed).toBeLessThan(decisions.exits.length * upTo(3));
  });
});

describe("exportSingle", () => {
  it("does not run a stage behind the exit that was taken, even one that fails", async () => {
    const random = generator(1);
    const graph = new GraphWriter();
    graph.ints("one", [1]);
    graph.ints("flat", [-1]);
    const tap = graph.node("Relu", ["x"], "tap");
    const early = head(graph, "early", tap, 3, random);
    // Row 1,000,000 of a table of three, an index that only data can tell.
    graph.node("Mul", [tap, graph.floats("nothing", [], () => 0)], "zeros");
    graph.node("Add", ["zeros", graph.floats("far", [], () => 1e6)], "large");
    graph.node("Cast", ["large"], "index", { to: onnx.DataType.INT64 });
    graph.node("Gather", [graph.floats("table", [3], () => 1), "index"], "looked-up");
    const full = head(graph, "full", graph.node("Add", [tap, "looked-up"], "second"), 3, random);
    const network = defineExits(graph.model([value("x", ["n", 3, 6, 6])], ["full/scores"], 17), [early, full]);
    const x = randomBatch(3);
    expect((await runSingle(exportSingle(network, [ALWAYS]), x)).exits).toEqual([0, 0, 0]);
    await expect(runSingle(exportSingle(network, [NEVER]), x)).rejects.toThrow(/Gather|indices/);
  });

  it("states a batch of one, three outputs and no thresholds, in the network's operator set", () => {
    for (const opset of [11, 13, 17, 21]) {
      const model = exportSingle(residualNetwork({ opset }), [0.5, NEVER]);
      const { inputs, outputs, opset: kept } = describeModel(model);
      expect(kept).toBe(opset);
      expect(inputs).toEqual([{ name: "x", dtype: "float32", shape: [1, 3, 6, 6] }]);
      expect(outputs).toEqual([
        { name: "confidence", dtype: "float32", shape: [1] },
        { name: "prediction", dtype: "int64", shape: [1] },
        { name: "exit", dtype: "int64", shape: [1] },
      ]);
    }
  });

  it("answers with the last exit when there is no other", async () => {
    const network = residualNetwork({ exits: 1 });
    const x = randomBatch(3);
    const record = await recordExits(device, network, [{ x, y: new Int32Array(3) }]);
    const { predictions, exits } = await runSingle(exportSingle(network, []), x);
    expect(predictions).toEqual([...record.predictions[0]!]);
    expect(exits).toEqual([0, 0, 0]);
  });

  it("never leaves early on NaN", async () => {
    const x = randomBatch(1);
    x.data.fill(Number.NaN);
    const { exits, confidences } = await runSingle(exportSingle(residualNetwork(), [ALWAYS, ALWAYS]), x);
    expect(exits).toEqual([2]);
    expect(confidences[0]).toBeNaN();
  });

  it("keeps tensors of the network that are called as its outputs are", async () => {
    const graph = new GraphWriter();
    const random = generator(1);
    graph.ints("one", [1]);
    graph.ints("flat", [-1]);
    const early = head(graph, "early", graph.node("Relu", ["x"], "confidence"), 3, random);
    const full = head(graph, "full", graph.node("Add", ["confidence", "x"], "exit"), 3, random);
    const network = defineExits(graph.model([value("x", ["n", 3, 6, 6])], ["full/scores"], 17), [early, full]);
    expect((await runSingle(exportSingle(network, [NEVER]), randomBatch(2))).exits).toEqual([1, 1]);
  });

  it("names what is wrong", () => {
    const network = residualNetwork();
    const expectError = (run: () => unknown, text: string) => {
      expect(run).toThrow(InputError);
      expect(run).toThrow(text);
    };
    expectError(
      () => exportSingle(network, [0.5]),
      "exportSingle: 3 exits need 2 thresholds, none for the last; got 1",
    );
    expectError(() => exportSingle(network, [0.5, Number.NaN]), "got NaN at exit 1");
    expectError(() => exportSingle(residualNetwork({ batch: 4 }), [0.5, 0.5]), "must be symbolic or 1; got 4");
    expectError(
      () => exportSingle(residualNetwork({ exits: 31 }), new Array(30).fill(0.5)),
      "one model holds at most 30 exits; got 31. Use exportStages",
    );
    const graph = new GraphWriter();
    graph.ints("one", [1]);
    graph.ints("flat", [-1]);
    const full = head(graph, "full", graph.node("Relu", ["exit"], "tap"), 3, generator(1));
    const clash = defineExits(graph.model([value("exit", ["n", 3, 6, 6])], ["full/scores"], 17), [full]);
    expectError(
      () => exportSingle(clash, []),
      'must not be called as an output is ("confidence", "prediction", "exit")',
    );
  });
});

describe("exportStages", () => {
  it("carries tensors over several stages", async () => {
    const { stages } = await exportStages(device, exported.residual.network);
    expect(stages.map(({ carried }) => carried)).toEqual([
      ["x", "block0/out", "thresholds"],
      ["x", "block0/out", "block1/out"],
      ["x", "block1/out", "block2/out"],
      [],
    ]);
  });

  it("says which tensors do not depend on the batch", async () => {
    const random = generator(1);
    const graph = new GraphWriter();
    graph.ints("one", [1]);
    graph.ints("flat", [-1]);
    // Halves made from data, the same for every batch, read by both stages.
    graph.node("Mul", ["x", graph.floats("nothing", [], () => 0)], "zeros");
    graph.node("ReduceMax", ["zeros"], "zero", { axes: [0], keepdims: 0 });
    graph.node("Add", ["zero", graph.floats("half", [], () => 0.5)], "row");
    const tap = graph.node("Add", ["x", "row"], "tap");
    const early = head(graph, "early", tap, 3, random);
    const full = head(graph, "full", graph.node("Add", [tap, "row"], "second"), 3, random);
    const network = defineExits(graph.model([value("x", ["n", 3, 6, 6])], ["full/scores"], 17), [early, full]);
    const { stages, models } = await exportStages(device, network);
    expect(stages[0]).toMatchObject({ carried: ["tap"], carriedWhole: ["row"] });
    expect(describeModel(models[1]!).inputs).toEqual([
      { name: "row", dtype: "float32", shape: [3, 6, 6] },
      { name: "tap", dtype: "float32", shape: ["n", 3, 6, 6] },
    ]);
    const x = randomBatch(6);
    const { confidences } = await recordExits(device, network, [{ x, y: new Int32Array(6) }]);
    const sorted = confidences[0]!.slice().sort();
    const thresholds = [(sorted[2]! + sorted[3]!) / 2];
    const { exits } = await runStages(network, x, thresholds);
    expect([...exits]).toEqual((await runSingle(exportSingle(network, thresholds), x)).exits);
    expect(new Set(exits).size).toBe(2);
  });

  it("takes models of one sample at a time and asks for shapes that are not stated", async () => {
    const { stages, models } = await exportStages(device, residualNetwork({ batch: 1 }));
    expect(stages[1]).toMatchObject({ carried: [], carriedWhole: ["x", "block0/out", "block1/out"] });
    expect(describeModel(models[0]!).outputs.map(({ shape }) => shape)).toContainEqual([1, 8, 6, 6]);
    const { model, exits } = residualNetwork({ exits: 2 });
    const graph = onnx.changed(model.proto.graph!, { input: [value("x", ["n", 3, "h", "w"])] });
    const open = defineExits({ proto: onnx.changed(model.proto, { graph }) }, exits);
    await expect(exportStages(device, open)).rejects.toThrow("early-exit.exportStages: the shape of a sample");
    expect((await exportStages(device, open, { sampleShape: [3, 6, 6] })).models.length).toBe(2);
    await expect(exportStages(device, open, { shape: [3] } as never)).rejects.toThrow(InputError);
  });
});

it("law: one file, exported stages and staged execution agree, for any network, batch and thresholds", async () => {
  await fc.assert(
    fc.asyncProperty(stagedCases(6), async ({ n, quantiles, ...options }) => {
      const network = residualNetwork(options);
      const x = randomBatch(n, [3, 6, 6], options.seed);
      const { confidences } = await recordExits(device, network, [{ x, y: new Int32Array(n) }]);
      const thresholds = thresholdsBeside(confidences, quantiles);
      const staged = await openStaged(device, network);
      const { predictions, leftAt, confidences: sure } = await staged.classify(x, thresholds);
      await staged.release();
      const single = await runSingle(readModel(writeModel(exportSingle(network, thresholds))), x);
      const stages = await runStages(network, x, thresholds);
      expect(single.exits).toEqual([...leftAt]);
      expect(single.predictions).toEqual([...predictions]);
      expect(stages.exits).toEqual(leftAt);
      expect(stages.predictions).toEqual(predictions);
      sure.forEach((confidence, row) => {
        expect(Math.abs(confidence - single.confidences[row]!)).toBeLessThan(2e-6);
        expect(Math.abs(confidence - stages.confidences[row]!)).toBeLessThan(2e-6);
      });
    }),
    { numRuns: 15, seed: 1 },
  );
});
