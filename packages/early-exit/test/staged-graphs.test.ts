import { type Device, generator, InputError, type Model, onnx, openDevice, rows, tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ALWAYS, defineExits, type ExitModel, NEVER, openStaged, recordExits } from "../src/index.ts";
import {
  counting,
  GraphWriter,
  head,
  randomBatch,
  residualNetwork,
  scoresToExit,
  stagedCases,
  thresholdsBeside,
  value,
} from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** x [n, 4] → two exits, with whatever `between` puts between the taps. */
function vectorNetwork(between: (graph: GraphWriter, tap: string) => string, opset = 17): ExitModel {
  const random = generator(5);
  const graph = new GraphWriter();
  graph.ints("one", [1]);
  graph.ints("flat", [-1]);
  const weight = (name: string, dims: number[]) => graph.floats(name, dims, () => random.normal());
  const first = graph.node("Relu", [graph.node("MatMul", ["x", weight("w0", [4, 6])], "hidden")], "tap0");
  const early = scoresToExit(
    graph,
    "early",
    first,
    graph.node("MatMul", [first, weight("w1", [6, 3])], "early/scores"),
  );
  const second = between(graph, first);
  const full = scoresToExit(graph, "full", second, graph.node("MatMul", [second, weight("w2", [6, 3])], "full/scores"));
  return defineExits(graph.model([value("x", ["n", 4])], ["full/scores"], opset), [early, full]);
}

async function agreeOnSome(network: ExitModel, n = 12) {
  const x = randomBatch(n, [4], 3);
  const record = await recordExits(device, network, [{ x, y: new Int32Array(n) }]);
  const sorted = [...record.confidences[0]!].sort((a, b) => a - b);
  const threshold = (sorted[n / 2]! + sorted[n / 2 - 1]!) / 2;
  for (const execution of ["fused", "sessions"] as const) {
    const staged = await openStaged(device, network, { execution });
    const { predictions, leftAt, rowsPerStage } = await staged.classify(x, [threshold]);
    expect(rowsPerStage).toEqual([n, n / 2]);
    leftAt.forEach((exit, row) => {
      expect(exit).toBe(record.confidences[0]![row]! > threshold ? 0 : 1);
      expect(predictions[row]).toBe(record.predictions[exit]![row]);
    });
    await staged.release();
  }
}

describe("what crosses between stages", () => {
  it("computes shapes again after rows have left", async () => {
    await agreeOnSome(
      vectorNetwork((graph, tap) => {
        graph.node("Shape", ["tap0"], "shape");
        graph.node("Reshape", [tap, graph.ints("wide", [-1, 2, 3])], "folded");
        return graph.node("Reshape", ["folded", "shape"], "unfolded");
      }),
    );
  });

  it("keeps tensors that do not depend on the batch as they are", async () => {
    await agreeOnSome(
      vectorNetwork((graph, tap) => {
        // A dimension of 6 whatever the batch, made from data: 0 · x summed over the batch, plus weights.
        graph.node("Mul", ["hidden", graph.floats("zero", [], () => 0)], "nothing");
        graph.node("ReduceMax", ["nothing"], "row", { axes: [0], keepdims: 0 });
        const bias = graph.node("Add", ["row", graph.floats("b", [6], () => 0.5)], "bias");
        const early = graph.node("Mul", [tap, bias], "product");
        return graph.node("Relu", [early], "second");
      }),
    );
  });

  it("carries whole numbers and truth values", async () => {
    await agreeOnSome(
      vectorNetwork((graph, tap) => {
        graph.node("Greater", ["hidden", graph.floats("half", [], () => 0.5)], "mask");
        graph.node("Cast", ["mask"], "number", { to: onnx.DataType.INT64 });
        graph.node("Cast", ["number"], "float", { to: onnx.DataType.FLOAT });
        return graph.node("Where", ["mask", graph.node("Add", [tap, "float"], "more"), tap], "second");
      }),
    );
  });

  it("follows tensors into the bodies of control flow", async () => {
    await agreeOnSome(
      vectorNetwork((graph, tap) => {
        const branch = (name: string, opType: string) => {
          const inner = new GraphWriter();
          inner.node(opType, [tap, "hidden"], `${name}/y`);
          return onnx.create(onnx.GraphProtoSchema, {
            name,
            node: inner.nodes,
            output: [value(`${name}/y`, ["n", 6])],
          });
        };
        graph.node("ReduceMax", ["one"], "always", { keepdims: 0 });
        graph.node("Cast", ["always"], "condition", { to: onnx.DataType.BOOL });
        const attributes = { then_branch: branch("yes", "Add"), else_branch: branch("no", "Sub") };
        return graph.node("If", ["condition"], "second", attributes);
      }),
    );
  });

  it("names a tensor that has the batch on another axis", async () => {
    const network = vectorNetwork((graph, tap) => {
      graph.node("Transpose", ["hidden"], "sideways", { perm: [1, 0] });
      graph.node("Relu", ["sideways"], "relu");
      graph.node("Transpose", ["relu"], "upright", { perm: [1, 0] });
      return graph.node("Add", [tap, "upright"], "second");
    });
    // The transposed tensor crosses only where the first exit needs it too.
    const { model, exits } = network;
    const graph = model.proto.graph!;
    const early = graph.node.find(({ name, output }) => name === "" && output[0] === "early/scores")!;
    const moved = graph.node.filter((node) => node !== early);
    const at = moved.findIndex(({ output }) => output[0] === "sideways");
    const order = [
      ...graph.node.slice(0, 2),
      moved[at]!,
      onnx.create(onnx.NodeProtoSchema, { opType: "Transpose", input: ["sideways"], output: ["back"] }),
      onnx.changed(early, { input: ["back", "w1"] }),
      ...graph.node.slice(3).filter(({ output }) => output[0] !== "sideways"),
    ];
    const crossing: Model = { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { node: order }) }) };
    const watched = counting(device);
    await expect(openStaged(watched, defineExits(crossing, exits))).rejects.toThrow(
      /the batch as its first dimension.*"sideways" of shape \[6, 2\] for 2 samples and \[6, 3\] for 3/,
    );
    expect(watched.open()).toBe(0);
  });

  it("refuses what mixes the samples of a batch", async () => {
    const network = vectorNetwork((graph, tap) => {
      graph.node("ReduceMax", ["hidden"], "largest", { axes: [0], keepdims: 0 });
      return graph.node("Add", [tap, "largest"], "second");
    });
    // Made behind the first exit it stays in one stage; the first exit reading it makes it cross.
    const graph = network.model.proto.graph!;
    const largest = graph.node.find(({ output }) => output[0] === "largest")!;
    const early = graph.node.find(({ output }) => output[0] === "early/scores")!;
    const node = graph.node
      .filter((entry) => entry !== largest)
      .flatMap((entry) =>
        entry === early
          ? [
              largest,
              onnx.create(onnx.NodeProtoSchema, { opType: "Add", input: ["tap0", "largest"], output: ["shifted"] }),
              onnx.changed(early, { input: ["shifted", "w1"] }),
            ]
          : [entry],
      );
    const model: Model = { proto: onnx.changed(network.model.proto, { graph: onnx.changed(graph, { node }) }) };
    await expect(openStaged(device, defineExits(model, network.exits))).rejects.toThrow(
      /not depend on it; got "largest" of shape \[6\] for 2 samples and \[6\] for 3/,
    );
  });
});

describe("what callers get wrong", () => {
  it("names unknown tensors, repeated names, exits out of order, several inputs and old operator sets", () => {
    const { model, exits } = residualNetwork({ exits: 3 });
    const [a, b, c] = exits as [(typeof exits)[0], (typeof exits)[0], (typeof exits)[0]];
    const expectError = (run: () => unknown, text: string | RegExp) => {
      expect(run).toThrow(InputError);
      expect(run).toThrow(text);
    };
    expectError(() => defineExits(model, []), "a network needs at least one exit");
    expectError(() => defineExits(model, [a, { ...b, name: a.name }]), 'exit names must differ; got "exit0" twice');
    expectError(
      () => defineExits(model, [{ ...a, tap: "block0/ouT" }, c]),
      'tap of exit "exit0" must be a tensor that the graph computes; got "block0/ouT". Did you mean "block0/out"',
    );
    expectError(() => defineExits(model, [{ ...a, tap: "x" }, c]), 'got "x"');
    expectError(() => defineExits(model, [b, a, c]), "must come after cut 0");
    expectError(
      () => defineExits(model, [a, c, b]),
      'exit "exit1", given last, must read what lies behind all other exits; got tap "block1/out"',
    );
    expectError(() => defineExits(model, [{ ...a, treshold: 1 } as never, c]), "exit 0 must be { name, tap");
    const graph = model.proto.graph!;
    const two = onnx.changed(graph, { input: [...graph.input, value("z", ["n", 1])] });
    expectError(
      () => defineExits({ proto: onnx.changed(model.proto, { graph: two }) }, exits),
      'exactly one input; got "x", "z"',
    );
    const old = onnx.changed(model.proto, { opsetImport: [{ ...model.proto.opsetImport[0]!, version: 6n }] });
    expectError(() => defineExits({ proto: old }, exits), "operator set 7 or newer; got 6");
  });

  it("names answers of another type or shape", async () => {
    const { model, exits } = residualNetwork({ exits: 2 });
    const [early, full] = exits as [(typeof exits)[0], (typeof exits)[0]];
    await expect(openStaged(device, defineExits(model, [{ ...early, confidence: "exit0/top" }, full]))).rejects.toThrow(
      'confidence "exit0/top" must be float32 of shape [n]; got float32 [2, 1] for n = 2',
    );
    await expect(
      openStaged(device, defineExits(model, [{ ...early, prediction: "exit0/confidence" }, full])),
    ).rejects.toThrow('prediction "exit0/confidence" must be int64');
  });

  it("names wrong batches, thresholds and options", async () => {
    const staged = await openStaged(device, residualNetwork());
    const batch = randomBatch(2);
    const never = [NEVER, NEVER];
    await expect(staged.classify(randomBatch(2, [3, 6, 5]), never)).rejects.toThrow(
      'early-exit.classify: the batch must be float32 [n, 3, 6, 6], as input "x" is; got float32 [2, 3, 6, 5]',
    );
    await expect(staged.classify(tensor("float64", [1, 3, 6, 6]), never)).rejects.toThrow("got float64");
    await expect(staged.classify({ ...batch, shape: [3, 3, 6, 6] }, never)).rejects.toThrow("324 elements; got 216");
    await expect(staged.classify([] as never, never)).rejects.toThrow(InputError);
    await expect(staged.classify(batch, [0.5])).rejects.toThrow("3 exits need 2 thresholds, none for the last; got 1");
    await expect(staged.classify(batch, [0.5, Number.NaN])).rejects.toThrow("got NaN at exit 1");
    await staged.release();
    await expect(openStaged(device, residualNetwork(), { executon: "fused" } as never)).rejects.toThrow("executon");
    await expect(openStaged(device, residualNetwork(), { sampleShape: [3, 6, 7] })).rejects.toThrow(
      "sampleShape must fit",
    );
    await expect(openStaged(device, residualNetwork({ batch: 4 }))).rejects.toThrow(
      "must be symbolic or 1; got [4, 3, 6, 6]",
    );
  });

  it("asks for the shape of a sample where the model does not state it", async () => {
    const { model, exits } = residualNetwork({ exits: 2 });
    const graph = onnx.changed(model.proto.graph!, { input: [value("x", ["n", 3, "h", "w"])] });
    const open = defineExits({ proto: onnx.changed(model.proto, { graph }) }, exits);
    await expect(openStaged(device, open)).rejects.toThrow("Pass sampleShape");
    const staged = await openStaged(device, open, { sampleShape: [3, 6, 6] });
    expect((await staged.classify(randomBatch(2), [ALWAYS])).rowsPerStage).toEqual([2, 0]);
    await staged.release();
  });
});

describe("recordExits", () => {
  it("puts batches behind one another and reports progress", async () => {
    const network = residualNetwork({ exits: 3 });
    const x = randomBatch(10);
    const y = Int32Array.from({ length: 10 }, (_, row) => row % 3);
    const done: number[] = [];
    const watched = counting(device);
    async function* batches() {
      for (const [from, to] of [
        [0, 4],
        [4, 4],
        [4, 10],
      ] as const)
        yield { x: rows(x, from, to), y: y.subarray(from, to) };
    }
    const record = await recordExits(watched, network, batches(), { onProgress: (samples) => done.push(samples) });
    expect(done).toEqual([4, 10]);
    expect(watched.open()).toBe(0);
    expect(record.exits).toEqual(["exit0", "exit1", "exit2"]);
    expect(record.labels).toEqual(y);
    const staged = await openStaged(device, network);
    for (let j = 0; j < 3; j++) {
      const thresholds = [NEVER, NEVER].map((threshold, at) => (at === j ? ALWAYS : threshold));
      expect((await staged.classify(x, thresholds)).predictions).toEqual(record.predictions[j]);
    }
    await staged.release();
  });

  it("names labels that do not fit, no data, and NaN, and closes its session", async () => {
    const network = residualNetwork();
    const watched = counting(device);
    const y = new Int32Array(2);
    await expect(recordExits(watched, network, [{ x: randomBatch(3), y }])).rejects.toThrow(
      "must have 3 labels; got 2",
    );
    await expect(recordExits(watched, network, [])).rejects.toThrow("at least one sample; got none");
    const broken = randomBatch(2);
    broken.data.fill(Number.NaN);
    await expect(recordExits(watched, network, [{ x: broken, y }])).rejects.toThrow("NaN");
    expect(watched.open()).toBe(0);
  });
});

it("law: fused equals sessions, for any network, batch and thresholds", async () => {
  await fc.assert(
    fc.asyncProperty(stagedCases(9), async ({ n, quantiles, ...options }) => {
      const network = residualNetwork(options);
      const x = randomBatch(n, [3, 6, 6], options.seed);
      const { confidences } = await recordExits(device, network, [{ x, y: new Int32Array(n) }]);
      const thresholds = thresholdsBeside(confidences, quantiles);
      const results = [];
      for (const execution of ["fused", "sessions"] as const) {
        const staged = await openStaged(device, network, { execution });
        results.push(await staged.classify(x, thresholds));
        await staged.release();
      }
      const [fused, sessions] = results;
      expect({ ...fused!, confidences: null }).toEqual({ ...sessions!, confidences: null });
      fused!.confidences.forEach((c, row) => {
        expect(Math.abs(c - sessions!.confidences[row]!)).toBeLessThan(2e-6);
      });
    }),
    { numRuns: 25, seed: 1 },
  );
});

it("builds a head that the network's own tensors do not clash with", async () => {
  const graph = new GraphWriter();
  const random = generator(1);
  graph.ints("one", [1]);
  graph.ints("flat", [-1]);
  // The graph input itself is called thresholds.
  const tap = graph.node("Relu", ["thresholds"], "stage0/keep");
  const early = head(graph, "early", tap, 3, random);
  const second = graph.node("Add", [tap, "thresholds"], "stage0/rows");
  const full = head(graph, "full", second, 3, random);
  const network = defineExits(graph.model([value("thresholds", ["n", 3, 6, 6])], ["full/scores"], 17), [early, full]);
  const staged = await openStaged(device, network);
  expect((await staged.classify(randomBatch(3), [NEVER])).rowsPerStage).toEqual([3, 3]);
  await staged.release();
});
