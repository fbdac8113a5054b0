import {
  addTaps,
  type Device,
  onnx,
  openDevice,
  ops,
  programToModel,
  rows,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ALWAYS,
  type Classification,
  defineExits,
  type ExitModel,
  NEVER,
  openStaged,
  REJECTED,
  recordExits,
  replay,
} from "../src/index.ts";
import { counting, randomBatch, residualNetwork } from "./networks.ts";

const executions = ["fused", "sessions"] as const;
let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** Everything every exit says, from the plain network with its answers tapped. */
async function everything(network: ExitModel, batch: Tensor) {
  const names = network.exits.flatMap(({ confidence, prediction }) => [confidence, prediction]);
  const session = await device.load(addTaps(network.model, names));
  const results = await session.run({ [network.input]: batch });
  await session.release();
  return network.exits.map(({ confidence, prediction }) => ({
    confidences: results[confidence]!.data as Float32Array,
    predictions: Int32Array.from(results[prediction]!.data as BigInt64Array, Number),
  }));
}

/** What should come out, decided row by row. */
function expected(said: Awaited<ReturnType<typeof everything>>, thresholds: readonly number[]): Classification {
  const n = said[0]!.confidences.length;
  const leftAt = Int32Array.from({ length: n }, (_, row) => {
    const exit = thresholds.findIndex((threshold, j) => said[j]!.confidences[row]! > Math.fround(threshold));
    return exit < 0 ? thresholds.length : exit;
  });
  return {
    leftAt,
    predictions: leftAt.map((j, row) => said[j]!.predictions[row]!),
    confidences: Float32Array.from(leftAt, (j, row) => said[j]!.confidences[row]!),
    rowsPerStage: said.map((_, j) => leftAt.filter((exit) => exit >= j).length),
  };
}

/** A threshold halfway between two confidences, so that the last places cannot decide. */
function between(confidences: Float32Array, quantile: number): number {
  const sorted = [...confidences].sort((a, b) => a - b);
  for (let at = Math.floor(quantile * (sorted.length - 1)); at > 0; at--) {
    if (sorted[at]! - sorted[at - 1]! > 1e-4) return (sorted[at]! + sorted[at - 1]!) / 2;
  }
  return sorted[0]! - 0.01;
}

function agree(actual: Classification, wanted: Classification) {
  expect(actual.leftAt).toEqual(wanted.leftAt);
  expect(actual.predictions).toEqual(wanted.predictions);
  expect(actual.rowsPerStage).toEqual(wanted.rowsPerStage);
  actual.confidences.forEach((confidence, row) => {
    expect(Math.abs(confidence - wanted.confidences[row]!)).toBeLessThan(2e-6);
  });
}

describe.each(executions)("staged execution, %s", (execution) => {
  it.each([11, 12, 13, 17, 18, 21])(
    "answers as the plain network does, exit by exit (operator set %i)",
    async (opset) => {
      const network = residualNetwork({ exits: 4, seed: opset, opset });
      const batch = randomBatch(24, [3, 6, 6], opset);
      const said = await everything(network, batch);
      const staged = await openStaged(device, network, { execution });
      const seen = new Set<number>();
      for (const quantile of [0.2, 0.5, 0.9]) {
        const thresholds = said.slice(0, -1).map(({ confidences }) => between(confidences, quantile));
        const wanted = expected(said, thresholds);
        for (const exit of wanted.leftAt) seen.add(exit);
        agree(await staged.classify(batch, thresholds), wanted);
      }
      expect(seen.size).toBeGreaterThan(2);
      await staged.release();
    },
  );

  it("gives every sample the answer it gets alone, whatever the batch", async () => {
    const network = residualNetwork({ exits: 4, seed: 3 });
    const batch = randomBatch(9);
    const said = await everything(network, randomBatch(40));
    const thresholds = said.slice(0, -1).map(({ confidences }) => between(confidences, 0.6));
    const staged = await openStaged(device, network, { execution });
    const alone: Classification[] = [];
    for (let row = 0; row < 9; row++) alone.push(await staged.classify(rows(batch, row, row + 1), thresholds));
    expect(new Set(alone.map(({ leftAt }) => leftAt[0])).size).toBeGreaterThan(1);
    for (const n of [1, 2, 3, 5, 8, 9]) {
      agree(await staged.classify(rows(batch, 0, n), thresholds), {
        leftAt: Int32Array.from({ length: n }, (_, row) => alone[row]!.leftAt[0]!),
        predictions: Int32Array.from({ length: n }, (_, row) => alone[row]!.predictions[0]!),
        confidences: Float32Array.from({ length: n }, (_, row) => alone[row]!.confidences[0]!),
        rowsPerStage: said.map((_, j) => alone.slice(0, n).reduce((sum, one) => sum + one.rowsPerStage[j]!, 0)),
      });
    }
    await staged.release();
  });

  it("agrees with the offline replay of recorded exits, sample by sample", async () => {
    const network = residualNetwork({ exits: 3, seed: 11 });
    const batch = randomBatch(50, [3, 6, 6], 5);
    const labels = Int32Array.from({ length: 50 }, (_, row) => row % 5);
    const parts = [rows(batch, 0, 20), rows(batch, 20, 50)].map((x, at) => ({
      x,
      y: at === 0 ? labels.subarray(0, 20) : labels.subarray(20),
    }));
    const record = await recordExits(device, network, parts);
    const staged = await openStaged(device, network, { execution });
    for (const quantile of [0.3, 0.7]) {
      const thresholds = record.confidences.slice(0, -1).map((row) => between(row, quantile));
      const offline = replay(record, thresholds, { exits: [1, 2, 3], full: 3 });
      const real = await staged.classify(batch, thresholds);
      expect(real.leftAt).toEqual(offline.leftAt);
      expect(real.predictions).toEqual(offline.predictions);
      const mean = real.rowsPerStage.reduce((sum, count) => sum + count, 0) / 50;
      expect(mean).toBeCloseTo(offline.meanCost, 12);
    }
    await staged.release();
  });

  it("is bit for bit the plain network when nothing leaves", async () => {
    const network = residualNetwork({ exits: 5, seed: 2, channels: 16, size: 8 });
    const staged = await openStaged(device, network, { execution });
    for (const n of [1, 7, 32]) {
      const batch = randomBatch(n, [3, 8, 8], n);
      const plain = (await everything(network, batch)).at(-1)!;
      // Switched off, the exits are not computed; no confidence exceeds 1, but each is asked.
      for (const threshold of [NEVER, 1]) {
        const { confidences, predictions, leftAt, rowsPerStage } = await staged.classify(
          batch,
          Array(4).fill(threshold),
        );
        expect(confidences).toEqual(plain.confidences);
        expect(predictions).toEqual(plain.predictions);
        expect([...leftAt]).toEqual(Array(n).fill(4));
        expect(rowsPerStage).toEqual(Array(5).fill(n));
      }
    }
    await staged.release();
  });

  it("computes nothing behind an exit at which all leave", async () => {
    const network = residualNetwork({ exits: 4 });
    const staged = await openStaged(device, network, { execution });
    for (let at = 0; at < 3; at++) {
      const thresholds = [NEVER, NEVER, NEVER].with(at, ALWAYS);
      const { rowsPerStage, leftAt } = await staged.classify(randomBatch(6), thresholds);
      expect(rowsPerStage).toEqual([0, 1, 2, 3].map((j) => (j <= at ? 6 : 0)));
      expect([...leftAt]).toEqual(Array(6).fill(at));
    }
    await staged.release();
  });

  it("compares strictly, with thresholds rounded to float32", async () => {
    const network = residualNetwork({ exits: 2 });
    const batch = randomBatch(1);
    const said = await everything(network, batch);
    const confidence = said[0]!.confidences[0]!;
    const staged = await openStaged(device, network, { execution });
    const exit = async (threshold: number) => (await staged.classify(batch, [threshold])).leftAt[0];
    expect(await exit(confidence)).toBe(1);
    expect(await exit(confidence - 1e-6)).toBe(0);
    // A double a little below the confidence rounds up to it.
    expect(await exit(confidence - 1e-12)).toBe(1);
    await staged.release();
  });

  it("takes an empty batch, a batch that grows, and calls that overlap", async () => {
    const network = residualNetwork({ exits: 3, seed: 4 });
    const said = await everything(network, randomBatch(30));
    const thresholds = said.slice(0, -1).map(({ confidences }) => between(confidences, 0.5));
    const staged = await openStaged(device, network, { execution });
    const empty = await staged.classify(randomBatch(0), thresholds);
    expect(empty).toEqual({
      predictions: new Int32Array(0),
      leftAt: new Int32Array(0),
      confidences: new Float32Array(0),
      rowsPerStage: [0, 0, 0],
    });
    const batches = [4, 30, 1, 17].map((n) => rows(randomBatch(30), 0, n));
    const results = await Promise.all(batches.map((batch) => staged.classify(batch, thresholds)));
    for (const [at, batch] of batches.entries())
      agree(results[at]!, expected(await everything(network, batch), thresholds));
    await staged.release();
  });

  it("leaves the caller's batch as it is, a view into a larger buffer included", async () => {
    const network = residualNetwork({ exits: 3, seed: 6 });
    const whole = randomBatch(12);
    const before = whole.data.slice();
    const part = rows(whole, 3, 11);
    const said = await everything(network, part);
    const thresholds = said.slice(0, -1).map(({ confidences }) => between(confidences, 0.5));
    const staged = await openStaged(device, network, { execution });
    const { rowsPerStage } = await staged.classify(part, thresholds);
    expect(rowsPerStage[1]).toBeLessThan(8);
    expect(whole.data).toEqual(before);
    await staged.release();
  });

  it("refuses rows that are no samples, or turns them away and answers the others as if alone", async () => {
    const network = residualNetwork({ exits: 3 });
    const batch = randomBatch(4);
    const plain = await openStaged(device, network, { execution });
    const reference = await plain.classify(batch, [0.5, 0.5]);
    const lenient = await openStaged(device, network, { execution, onInvalid: "reject" });
    for (const bad of [Number.NaN, Number.NEGATIVE_INFINITY, 1e38]) {
      const spoiled = tensor("float32", batch.shape, batch.data.slice());
      spoiled.data[2 * 108 + 7] = bad;
      await expect(plain.classify(spoiled, [0.5, 0.5])).rejects.toThrow(
        /samples must be finite numbers, and their squares too; got .* in row 2 of a batch of 4/,
      );
      const { predictions, leftAt, confidences } = await lenient.classify(spoiled, [0.5, 0.5]);
      expect([predictions[2], leftAt[2], confidences[2]]).toEqual([REJECTED, 0, 0]);
      for (const row of [0, 1, 3]) {
        expect(predictions[row]).toBe(reference.predictions[row]);
        expect(leftAt[row]).toBe(reference.leftAt[row]);
        expect(confidences[row]).toBeCloseTo(reference.confidences[row]!, 5);
      }
    }
    await Promise.all([plain.release(), lenient.release()]);
  });

  it("an answer of NaN is refused by its row, or turned away", async () => {
    // ∞ − ∞ where x is 1e18.
    const program = trace(
      ({ x }) => {
        const huge = ops.mul(ops.relu(x), 1e30);
        const odd = ops.sigmoid(ops.sub(huge, ops.mul(huge, 1)));
        const sure = ops.max(odd, { axes: 1 });
        const answer = ops.argMax(x, { axis: 1 });
        return { c0: sure, p0: answer, c1: ops.mul(sure, 1), p1: ops.argMax(huge, { axis: 1 }) };
      },
      { x: spec("float32", ["n", 2]) },
    );
    const model = programToModel(program);
    const { output } = model.proto.graph!.node[0]!;
    const network = defineExits(model, [
      { name: "early", tap: output[0]!, confidence: "c0", prediction: "p0" },
      { name: "full", tap: "c1", confidence: "c1", prediction: "p1" },
    ]);
    const x = tensor("float32", [3, 2], [1, 2, 1e18, 0, 2, 1]);
    const plain = await openStaged(device, network, { execution });
    await expect(plain.classify(x, [ALWAYS])).rejects.toThrow(
      /confidences must be numbers; got NaN at exit "full" for row 1/,
    );
    const lenient = await openStaged(device, network, { execution, onInvalid: "reject" });
    const { predictions, confidences } = await lenient.classify(x, [ALWAYS]);
    expect([...predictions]).toEqual([1, REJECTED, 0]);
    expect([...confidences]).toEqual([0.5, 0, 0.5]);
    await Promise.all([plain.release(), lenient.release()]);
  });

  it("runs a model whose batch dimension is fixed at 1", async () => {
    const network = residualNetwork({ exits: 3, seed: 8, batch: 1 });
    const staged = await openStaged(device, network, { execution });
    const said = await everything(residualNetwork({ exits: 3, seed: 8 }), randomBatch(6));
    const thresholds = said.slice(0, -1).map(({ confidences }) => between(confidences, 0.5));
    const wanted = expected(said, thresholds);
    for (let row = 0; row < 6; row++) {
      const { leftAt, predictions } = await staged.classify(rows(randomBatch(6), row, row + 1), thresholds);
      expect([leftAt[0], predictions[0]]).toEqual([wanted.leftAt[row], wanted.predictions[row]]);
    }
    await expect(staged.classify(randomBatch(2), thresholds)).rejects.toThrow(
      "the model takes 1 sample at a time; got 2",
    );
    await staged.release();
  });

  it("runs a network whose only exit is its own head", async () => {
    const network = residualNetwork({ exits: 1 });
    const staged = await openStaged(device, network, { execution });
    const { predictions, rowsPerStage } = await staged.classify(randomBatch(5), []);
    expect(predictions).toEqual((await everything(network, randomBatch(5)))[0]!.predictions);
    expect(rowsPerStage).toEqual([5]);
    await staged.release();
  });

  it("refuses confidences outside [0, 1]", async () => {
    const network = residualNetwork({ exits: 3 });
    const { graph } = network.model.proto;
    const node = onnx.create(onnx.NodeProtoSchema, {
      opType: "Add",
      input: ["exit1/confidence", "exit1/confidence"],
      output: ["twice"],
    });
    // In front of what lies behind the exit, as the graph must be sorted.
    const at = graph!.node.findIndex(({ output }) => output.includes("exit1/confidence")) + 1;
    const nodes = [...graph!.node.slice(0, at), node, ...graph!.node.slice(at)];
    const model = { proto: onnx.changed(network.model.proto, { graph: onnx.changed(graph!, { node: nodes }) }) };
    const exits = network.exits.map((exit, j) => (j === 1 ? { ...exit, confidence: "twice" } : exit));
    const staged = await openStaged(device, defineExits(model, exits), { execution });
    const batch = randomBatch(20);
    // Switched off it is not computed, so not seen.
    expect((await staged.classify(batch, [NEVER, NEVER])).rowsPerStage).toEqual([20, 20, 20]);
    await expect(staged.classify(batch, [NEVER, 1])).rejects.toThrow(
      /^early-exit\.classify: confidences of exit "exit1" must lie in \[0, 1\]; got 1\.\d+ at row \d+\. Scale it/,
    );
    await staged.release();
  });

  it.each([
    ["the plain network", 3, [NEVER, NEVER]],
    ["a single sample", 1, [0.5, 0.5]],
  ] as const)("loads %s again after that failed, and leaves nothing open", async (_, n, thresholds) => {
    const watched = counting(device);
    let failing = false;
    const load: Device["load"] = async (model, options) => {
      if (failing) throw new Error("no memory");
      return watched.load(model, options);
    };
    for (const again of [true, false]) {
      const staged = await openStaged({ ...watched, load }, residualNetwork(), { execution });
      const lazily = n > 1 || execution === "fused";
      failing = lazily;
      if (lazily) await expect(staged.classify(randomBatch(n), thresholds)).rejects.toThrow("no memory");
      failing = false;
      if (again) expect((await staged.classify(randomBatch(n), thresholds)).predictions).toHaveLength(n);
      await staged.release();
      expect(watched.open()).toBe(0);
    }
  });

  it("releases all other sessions when one cannot be released, and says so", async () => {
    const watched = counting(device);
    let loaded = 0;
    const load: Device["load"] = async (model, options) => {
      const session = await watched.load(model, options);
      // The first one probes; the second is the first that is kept.
      if (++loaded !== 2) return session;
      return { ...session, release: () => session.release().then(() => Promise.reject(new Error("stuck"))) };
    };
    const staged = await openStaged({ ...watched, load }, residualNetwork(), { execution });
    await staged.classify(randomBatch(3), [NEVER, NEVER]);
    await staged.classify(randomBatch(1), [0.5, 0.5]);
    await expect(staged.release()).rejects.toThrow("stuck");
    expect(watched.open()).toBe(0);
  });

  it("leaves no session open and refuses work after release", async () => {
    const watched = counting(device);
    const staged = await openStaged(watched, residualNetwork(), { execution });
    expect(watched.open()).toBe(execution === "fused" ? 1 : 3);
    const running = [
      [1, 1],
      [NEVER, NEVER],
    ].map((thresholds) => staged.classify(randomBatch(3), thresholds));
    await Promise.all([staged.release(), staged.release()]);
    for (const { rowsPerStage } of await Promise.all(running)) expect(rowsPerStage).toEqual([3, 3, 3]);
    expect(watched.open()).toBe(0);
    await expect(staged.classify(randomBatch(1), [NEVER, NEVER])).rejects.toThrow(
      "early-exit.classify: the classifier must be open; got a released one",
    );
  });
});

it("runs 30 exits in one graph, and refuses 31", { timeout: 20_000 }, async () => {
  const network = residualNetwork({ exits: 30, channels: 4, awkward: false });
  const batch = randomBatch(8);
  const staged = await openStaged(device, network);
  expect(staged.execution).toBe("fused");
  const said = await everything(network, batch);
  const thresholds = said.slice(0, -1).map(({ confidences }, j) => (j % 5 === 4 ? between(confidences, 0.8) : NEVER));
  agree(await staged.classify(batch, thresholds), expected(said, thresholds));
  await staged.release();
  const deeper = residualNetwork({ exits: 31, channels: 4, awkward: false });
  await expect(openStaged(device, deeper, { execution: "fused" })).rejects.toThrow("at most 30 exits; got 31");
  const byDefault = await openStaged(device, deeper);
  expect(byDefault.execution).toBe("sessions");
  await byDefault.release();
});
