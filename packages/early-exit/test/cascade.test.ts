import {
  addTaps,
  countMacs,
  type Device,
  type Model,
  openDevice,
  probeShapes,
  quantiseModel,
  rows,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ALWAYS,
  type CascadeMember,
  type CascadeOptions,
  cascade,
  countExitCosts,
  type ExitModel,
  exportSingle,
  NEVER,
  openStaged,
  recordExits,
  recordLogits,
  replay,
} from "../src/index.ts";
import { K, classifier as network } from "./classifiers.ts";
import { randomBatch, residualNetwork, thresholdsBeside } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const members = (count = 3): CascadeMember[] =>
  [4, 8, 16].slice(0, count).map((channels, j) => ({ name: `net${channels}`, model: network(j + 1, channels) }));
const x = randomBatch(40);
const y = Int32Array.from({ length: 40 }, (_, i) => i % K);

async function logitsOf(model: Model, batch: Tensor = x): Promise<Float32Array> {
  const session = await device.load(model);
  const { logits } = await session.run({ x: batch });
  await session.release();
  return logits!.data as Float32Array;
}

async function outputsOf({ model, input }: ExitModel, names: readonly string[], batch: Tensor = x) {
  const session = await device.load(addTaps(model, names));
  const results = await session.run({ [input]: batch });
  await session.release();
  return results;
}

const softmax = (row: readonly number[]): number[] => {
  const most = Math.max(...row);
  const exponentials = row.map((value) => Math.exp(value - most));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
};
const rowsOf = (data: ArrayLike<number>, k = K): number[][] =>
  Array.from({ length: data.length / k }, (_, i) => Array.from({ length: k }, (_, c) => data[i * k + c]!));
const argMax = (row: readonly number[]) => row.indexOf(Math.max(...row));

describe("degenerate cascades", () => {
  it("of one model is that model, bit for bit", async () => {
    const [member] = members(1);
    for (const answer of ["own", "averaged"] as const) {
      const alone = cascade([member!], { answer });
      const { [alone.exits[0]!.scores!]: scores } = await outputsOf(alone, [alone.exits[0]!.scores!]);
      expect(scores!.data).toEqual(await logitsOf(member!.model as Model));
    }
  });

  it("with ALWAYS everywhere is the first member, with NEVER the last", async () => {
    const network = cascade(members(), { answer: "own" });
    const staged = await openStaged(device, network);
    const first = rowsOf(await logitsOf(members()[0]!.model as Model)).map(argMax);
    const last = rowsOf(await logitsOf(members()[2]!.model as Model)).map(argMax);
    const always = await staged.classify(x, [ALWAYS, ALWAYS]);
    expect([...always.predictions]).toEqual(first);
    expect(always.rowsPerStage).toEqual([40, 0, 0]);
    const never = await staged.classify(x, [NEVER, NEVER]);
    expect([...never.predictions]).toEqual(last);
    await staged.release();
  });

  it("takes members of several operator sets, raised to the highest", async () => {
    const sets = (opsets: readonly number[]) =>
      cascade(opsets.map((opset, j) => ({ name: `net${j}`, model: network(j + 1, 4 + j, { opset }) })));
    const same = await recordExits(device, sets([17, 17, 17]), [{ x, y }]);
    expect(await recordExits(device, sets([13, 21, 17]), [{ x, y }])).toEqual(same);
  });

  it("costs what the members cost that were run", async () => {
    const costs = await countExitCosts(device, cascade(members()));
    const each = await Promise.all(
      members().map(async ({ model }) => countMacs(model as Model, await probeShapes(device, model as Model)).total),
    );
    expect(costs).toEqual({
      exits: [each[0], each[0]! + each[1]!, each[0]! + each[1]! + each[2]!],
      full: each[2],
    });
  });
});

const settings: CascadeOptions[] = [
  { answer: "own" },
  { answer: "averaged" },
  { answer: "averaged", confidence: "agreement" },
  { answer: "own", confidence: "margin" },
  { answer: "averaged", confidence: "normalisedEntropy", weights: [1, 2, 3.5] },
];

describe.each(settings)("a cascade with %j", (options) => {
  it("leaves alike in replay, fused, in sessions and in one file", async () => {
    const network = cascade(members(), options);
    const record = await recordExits(device, network, [{ x, y }]);
    const costs = await countExitCosts(device, network);
    const thresholds = thresholdsBeside(record.confidences, [0.5, 0.6]);
    const offline = replay(record, thresholds, costs);
    expect(new Set(offline.leftAt).size).toBeGreaterThan(1);
    for (const execution of ["fused", "sessions"] as const) {
      const staged = await openStaged(device, network, { execution });
      const { leftAt, predictions } = await staged.classify(x, thresholds);
      expect([leftAt, predictions]).toEqual([offline.leftAt, offline.predictions]);
      await staged.release();
    }
    const single = await device.load(exportSingle(network, thresholds));
    for (let row = 0; row < 10; row++) {
      const { prediction, exit } = await single.run({ x: rows(x, row, row + 1) });
      expect([Number(prediction!.data[0]), Number(exit!.data[0])]).toEqual([
        offline.predictions[row],
        offline.leftAt[row],
      ]);
    }
    await single.release();
  });
});

describe("answers", () => {
  it("own: the record of a cascade is those of its members side by side", async () => {
    const joined = await recordLogits(device, cascade(members(), { answer: "own" }), [{ x, y }]);
    for (const [j, member] of members().entries()) {
      const alone = await recordLogits(device, cascade([member], { answer: "own" }), [{ x, y }]);
      expect(joined.predictions[j]).toEqual(alone.predictions[0]);
      expect(joined.confidences[j]).toEqual(alone.confidences[0]);
      expect(joined.logits[j]).toEqual(alone.logits[0]);
    }
  });

  it("averaged: the members' probabilities by temperature and weight, worked out from their logits", async () => {
    const given = members().map((member, j) => ({ ...member, temperature: [0.5, 2, 1][j]! }));
    const weights = [1, 2, 4];
    const network = cascade(given, { weights });
    const { confidences, predictions, logits } = await recordLogits(device, network, [{ x, y }]);
    const each = await Promise.all(given.map(async ({ model }) => rowsOf(await logitsOf(model as Model))));
    for (let row = 0; row < 40; row++) {
      const sum = new Array<number>(K).fill(0);
      let total = 0;
      given.forEach(({ temperature }, j) => {
        const p = softmax(each[j]![row]!.map((value) => value / temperature));
        p.forEach((value, c) => {
          sum[c]! += weights[j]! * value;
        });
        total += weights[j]!;
        expect(confidences[j]![row]).toBeCloseTo(Math.max(...sum) / total, 5);
        expect(predictions[j]![row]).toBe(argMax(sum));
        if (j > 0) {
          rowsOf(logits[j]!)[row]!.forEach((score, c) => {
            expect(Math.exp(score)).toBeCloseTo(sum[c]! / total, 5);
          });
        }
      });
    }
  });

  it("agreement: the largest probability times the share that says so", async () => {
    const network = cascade(members(), { answer: "own", confidence: "agreement" });
    const { confidences, predictions } = await recordExits(device, network, [{ x, y }]);
    const plain = await recordExits(device, cascade(members(), { answer: "own" }), [{ x, y }]);
    for (let row = 0; row < 40; row++) {
      for (let j = 0; j < 3; j++) {
        const votes = predictions.slice(0, j + 1).filter((said) => said[row] === predictions[j]![row]).length;
        expect(confidences[j]![row]).toBeCloseTo((votes / (j + 1)) * plain.confidences[j]![row]!, 6);
      }
    }
    expect(confidences[0]).toEqual(plain.confidences[0]);
  });
});

describe("members", () => {
  it("may have their classes in other orders, by name", async () => {
    const [small, large] = members(2) as [CascadeMember, CascadeMember];
    const sorted = ["1", "10", "2", "3", "4"];
    const numeric = ["1", "2", "3", "4", "10"];
    const network = cascade(
      [
        { ...small, classes: numeric },
        { ...large, classes: sorted },
      ],
      { answer: "own" },
    );
    const { predictions } = await recordExits(device, network, [{ x, y }]);
    const own = rowsOf(await logitsOf(large.model as Model)).map(argMax);
    expect([...predictions[1]!].map((at) => numeric[at])).toEqual(own.map((at) => sorted[at]));
  });

  it("have normalisations of their own in the graph", async () => {
    const [small, large] = members(2) as [CascadeMember, CascadeMember];
    const normalise = { mean: [0.1, 0.2, 0.3], standardDeviation: [0.5, 2, 4] };
    const network = cascade([small, { ...large, normalise }], { answer: "own" });
    const { logits } = await recordLogits(device, network, [{ x, y }]);
    const normalised = tensor(
      "float32",
      x.shape,
      x.data.map((value, at) => {
        const channel = Math.floor(at / 36) % 3;
        return (value - normalise.mean[channel]!) / normalise.standardDeviation[channel]!;
      }),
    );
    const expected = await logitsOf(large.model as Model, normalised);
    logits[1]!.forEach((value, at) => {
      expect(value).toBeCloseTo(expected[at]!, 5);
    });
    expect(logits[0]).toEqual(await logitsOf(small.model as Model));
  });

  it("may take another size, resized in the graph: a constant picture stays constant", async () => {
    const small = { name: "small", model: network(4, 4, { size: 3 }) };
    const both = cascade([small, members(1)[0]!], { answer: "own" });
    const flat = tensor("float32", [2, 3, 6, 6], new Array(216).fill(0.7));
    const { logits } = await recordLogits(device, both, [{ x: flat, y: Int32Array.of(0, 0) }]);
    const alone = await logitsOf(small.model, tensor("float32", [2, 3, 3, 3], new Array(54).fill(0.7)));
    logits[0]!.forEach((value, at) => {
      expect(value).toBeCloseTo(alone[at]!, 5);
    });
    // Halving averages pairs: the resized picture has the mean of the original.
    const given = cascade([small], { sampleShape: [3, 6, 6] });
    expect((await recordExits(device, given, [{ x, y }])).n).toBe(40);
  });

  it("may have exits of their own", async () => {
    const inner = residualNetwork({ exits: 3 });
    const classes = ["a", "b", "c", "d", "e"];
    const small = { ...members(1)[0]!, classes };
    const network = cascade([small, { name: "deep", model: inner, classes }], { answer: "own" });
    expect(network.exits.map(({ name }) => name)).toEqual([
      "net4",
      ...inner.exits.slice(0, -1).map(({ name }) => `deep/${name}`),
      "deep",
    ]);
    const joined = await recordExits(device, network, [{ x, y }]);
    const alone = await recordExits(device, inner, [{ x, y }]);
    expect(joined.predictions.slice(1)).toEqual(alone.predictions);
    const thresholds = thresholdsBeside(joined.confidences, [0.4, 0.4, 0.4]);
    const offline = replay(joined, thresholds, await countExitCosts(device, network));
    const staged = await openStaged(device, network);
    const { leftAt, predictions } = await staged.classify(x, thresholds);
    expect([leftAt, predictions]).toEqual([offline.leftAt, offline.predictions]);
    await staged.release();
  });

  it("may be quantised: stages carry on as the whole does", async () => {
    const quantised = await Promise.all(
      members(2).map(async ({ name, model }) => {
        const made = await quantiseModel(device, model as Model, [{ x }], { weightBits: 8 });
        return { name, model: made.model };
      }),
    );
    const network = cascade(quantised);
    const record = await recordExits(device, network, [{ x, y }]);
    const thresholds = thresholdsBeside(record.confidences, [0.5]);
    const costs = await countExitCosts(device, network);
    expect(costs).toEqual(await countExitCosts(device, cascade(members(2))));
    const offline = replay(record, thresholds, costs);
    const staged = await openStaged(device, network);
    const { leftAt, predictions } = await staged.classify(x, thresholds);
    expect([leftAt, predictions]).toEqual([offline.leftAt, offline.predictions]);
    await staged.release();
  });

  it("a cheaper member behind a dearer one is allowed", async () => {
    const network = cascade([...members()].reverse());
    const { exits } = await countExitCosts(device, network);
    expect(exits).toEqual([...exits].sort((a, b) => a - b));
  });
});

describe("what is refused", () => {
  const [small, large] = members(2) as [CascadeMember, CascadeMember];
  const refused = (given: unknown, options: object = {}) => expect(() => cascade(given as CascadeMember[], options));

  it("no members, no list, a member that is none, a repeated name", () => {
    refused([]).toThrow(/at least one member; got none/);
    refused(undefined).toThrow(/at least one member/);
    refused([{ name: "a" }]).toThrow(/member 0 must be \{ name, model, ... \}/);
    refused([{ ...small, file: "x" }]).toThrow(/member 0/);
    refused([small, { ...large, name: small.name }]).toThrow(/names must differ; got "net4" twice/);
  });

  it("two outputs or two inputs", () => {
    refused([{ name: "two", model: network(1, 4, { outputs: 2 }) }]).toThrow(
      /one output, or say which; got 2: "logits", "twice"/,
    );
    expect(cascade([{ name: "two", model: network(1, 4, { outputs: 2 }), output: "logits" }]).exits).toHaveLength(1);
    refused([{ ...small, output: "logit" }]).toThrow(/must be an output of its model.*Did you mean "logits"/);
    refused([{ name: "two", model: network(1, 4, { inputs: 2 }) }]).toThrow(/exactly one input; got "x", "y"/);
  });

  it("other numbers of classes, other classes, classes of one member only", () => {
    refused([small, { name: "six", model: network(1, 4, { k: 6 }) }]).toThrow(/tell the 5 classes .* apart; got 6/);
    const classes = ["a", "b", "c", "d", "e"];
    refused([{ ...small, classes }, large]).toThrow(/state their classes, or none; got none of member "net8"/);
    refused([
      { ...small, classes },
      { ...large, classes: ["a", "b", "c", "d", "f"] },
    ]).toThrow(/only one of them knows "e", "f"/);
    refused([{ ...small, classes: ["a", "b"] }]).toThrow(/gives 5 logits and must name as many/);
    refused([
      { ...small, classes },
      { ...large, classes: ["a", "a", "b", "c", "d"] },
    ]).toThrow(/"a" twice/);
  });

  it("inputs that do not fit, operator sets that cannot be raised", () => {
    refused([small], { sampleShape: [4, 6, 6] }).toThrow(
      /must take the cascade's input, float32 \[n, 4, 6, 6\]; got float32 \[n, 3, 6, 6\]/,
    );
    refused([small], { sampleShape: [3, 36] }).toThrow(/must take the cascade's input/);
    refused([small, { name: "old", model: network(1, 4, { opset: 11 }) }]).toThrow(
      /member "old" must go into the members' operator set, 17; got 11/,
    );
    const normalise = { mean: [1], standardDeviation: [1] };
    refused([{ ...small, normalise }]).toThrow(/each of the 3 channels; got 1 means/);
  });

  it("options out of range", () => {
    refused([small], { weights: [1, 2] }).toThrow(/one number for each of the 1 members; got 2/);
    refused([small], { weights: [0] }).toThrow(/weights/);
    refused([small], { confidence: "sure" }).toThrow(/confidence/);
    refused([{ ...small, temperature: 0 }]).toThrow(/at temperature/);
  });
});

it("any members in any order leave alike in replay and staged", async () => {
  const all = members();
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray([0, 1, 2], { minLength: 1 }),
      fc.constantFrom(...settings.slice(0, 4)),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 2 }),
      async (chosen, options, quantiles) => {
        const network = cascade(
          chosen.map((at) => all[at]!),
          options,
        );
        const record = await recordExits(device, network, [{ x, y }]);
        const thresholds = thresholdsBeside(record.confidences, quantiles);
        const offline = replay(record, thresholds, await countExitCosts(device, network));
        const staged = await openStaged(device, network);
        const { leftAt, predictions } = await staged.classify(x, thresholds);
        await staged.release();
        expect([leftAt, predictions]).toEqual([offline.leftAt, offline.predictions]);
      },
    ),
    { numRuns: 12 },
  );
});
