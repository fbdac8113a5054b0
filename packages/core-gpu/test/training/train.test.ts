import { afterAll, beforeAll, expect, test } from "vitest";
import type { Runner } from "../../src/index.ts";
import {
  type Device,
  generator,
  gradients,
  layers,
  openDevice,
  ops,
  optimisers,
  spec,
  type Tensor,
  tensor,
  trace,
  training,
} from "../../src/index.ts";
import { compileTiny, jitter, points, size } from "./tiny.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const base = async () => ({
  runner: await compileTiny(device),
  data: points(),
  batchSize: 8,
  epochs: 3,
  generator: generator(1),
  learningRate: 0.02,
});

test("a network learns its points", async () => {
  const result = await training.train({ ...(await base()), data: points(jitter), epochs: 40 });
  const losses = result.history.map(({ metrics }) => metrics.loss!);
  expect(losses[0]).toBeGreaterThan(0.8);
  expect(Math.min(...losses)).toBeLessThan(0.2);
  expect(result).toMatchObject({ stopped: "epochs", steps: 120, best: null, checkpoint: null });
});

test("every sample is seen once an epoch, in another order each time, the same for the same seed", async () => {
  const orders = async (seed: number, more: Partial<training.TrainOptions> = {}) => {
    const seen: number[][] = [];
    const onStep = ({ epoch, indices, batches }: training.StepEvent) => {
      expect(batches).toBe(more.dropLast ? 2 : 3);
      seen[epoch] = [...(seen[epoch] ?? []), ...indices];
    };
    await training.train({ ...(await base()), generator: generator(seed), onStep, ...more });
    return seen;
  };
  const [first, again, other] = [await orders(1), await orders(1), await orders(2)];
  const all = Array.from({ length: size }, (_, index) => index);
  for (const epoch of first) expect(epoch.toSorted((a, b) => a - b)).toEqual(all);
  expect(first[0]).not.toEqual(first[1]);
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
  expect((await orders(1, { shuffle: false }))[1]).toEqual(all);
  expect((await orders(1, { dropLast: true }))[0]).toEqual(first[0]!.slice(0, 16));
});

test("means are over samples, whatever the last batch's size", async () => {
  const losses: [number, number][] = [];
  const result = await training.train({
    ...(await base()),
    epochs: 1,
    onStep: ({ loss, indices }) => void losses.push([loss, indices.length]),
  });
  const mean = losses.reduce((sum, [loss, count]) => sum + loss * count, 0) / size;
  expect(losses.map(([, count]) => count)).toEqual([8, 8, 6]);
  expect(result.history[0]!.metrics.loss).toBeCloseTo(mean, 12);
});

test("collected outputs stand at their samples' places, and predict gives the same", async () => {
  const options = await base();
  let collected: training.Collected | null = null;
  await training.train({
    ...options,
    epochs: 1,
    batchSize: size,
    learningRate: 0,
    collect: ["losses", "logits"],
    onEpoch: (event) => {
      collected = event.collected;
    },
  });
  const { outputs, seen } = collected! as training.Collected;
  expect([...seen.data]).toEqual(Array(size).fill(1));
  expect(outputs.logits!.shape).toEqual([size, 3]);
  const feeds = { runner: frozen(options.runner), data: options.data, outputs: ["losses", "logits"] };
  const predicted = await training.predict({ ...feeds, batchSize: size });
  for (const name of ["losses", "logits"]) close(outputs[name]!, predicted[name]!);
});

test("what dropLast leaves out is marked as not seen", async () => {
  let collected: training.Collected | null = null;
  let visited: number[] = [];
  await training.train({
    ...(await base()),
    epochs: 1,
    dropLast: true,
    collect: ["losses"],
    onStep: ({ indices }) => {
      visited = [...visited, ...indices];
    },
    onEpoch: (event) => {
      collected = event.collected;
    },
  });
  const { seen } = collected! as training.Collected;
  expect(seen.data.reduce((sum, value) => sum + value, 0)).toBe(16);
  for (const sample of visited) expect(seen.data[sample]).toBe(1);
});

/** The runner, fed a learning rate of 0. */
function frozen(runner: Runner): Runner {
  return {
    ...runner,
    run: (feeds, options) => runner.run({ ...feeds, learningRate: tensor("float32", [], [0]) }, options),
  };
}

function close(a: Tensor, b: Tensor): void {
  expect(a.shape).toEqual(b.shape);
  a.data.forEach((value, index) => {
    expect(Number(value)).toBeCloseTo(Number(b.data[index]), 4);
  });
}

test("the next batch is asked for before a step runs, and not more than that", async () => {
  const events: string[] = [];
  const { runner, data, ...rest } = await base();
  let batches = 0;
  const watched: training.Dataset = {
    size,
    batch: (indices, random) => {
      events.push(`batch ${batches++}`);
      return data.batch(indices, random);
    },
  };
  let steps = 0;
  const run: Runner["run"] = (...given) => {
    events.push(`step ${steps++}`);
    return runner.run(...given);
  };
  await training.train({ ...rest, runner: { ...runner, run }, data: watched, epochs: 1 });
  expect(events).toEqual(["batch 0", "batch 1", "step 0", "batch 2", "step 1", "step 2"]);
  events.length = batches = steps = 0;
  await training.train({ ...rest, runner: { ...runner, run }, data: watched, epochs: 1, prefetch: 0 });
  expect(events).toEqual(["batch 0", "step 0", "batch 1", "step 1", "batch 2", "step 2"]);
});

test("prefetching changes no bit", async () => {
  const trained = async (prefetch: number) => {
    const options = await base();
    await training.train({ ...options, data: points(jitter), prefetch });
    return options.runner.readState();
  };
  expect(await trained(2)).toEqual(await trained(0));
});

test("more inputs of a step come from a generator of its own", async () => {
  const program = trace(({ total, x, noise }) => ({ loss: ops.mean(x), total: ops.add(total, ops.sum(noise)) }), {
    total: spec("float32", []),
    x: spec("float32", ["n"]),
    noise: spec("float32", ["n"]),
  });
  const totals: number[] = [];
  for (const prefetch of [0, 1]) {
    const runner = await device.compile(program, { state: ["total"], initial: { total: tensor("float32", []) } });
    const data = training.tensorDataset({ x: tensor("float32", [6]) });
    const feeds: training.TrainOptions["feeds"] = ({ generator: random, samples }) => ({
      noise: tensor(
        "float32",
        [samples],
        Array.from({ length: samples }, () => random.uniform()),
      ),
    });
    await training.train({ runner, data, batchSize: 4, epochs: 2, generator: generator(3), feeds, prefetch });
    totals.push(Number((await runner.readState()).total!.data[0]));
  }
  expect(totals[0]).toBe(totals[1]);
  expect(totals[0]! % 1).not.toBe(0);
});

/** Least squares by momentum, gradients gathered in windows; rows of weight 0 do not count. */
async function accumulating(batchSize: number, rows: number, more: Partial<training.TrainOptions> = {}) {
  const optimiser = optimisers.accumulate(optimisers.sgd({ momentum: 0.9 }));
  const weight = spec("float32", [1, 2]);
  const state = optimiser.init({ weight });
  const program = trace(
    ({ params, optimiser: before, x, y, counts, learningRate, closeWindow }) => {
      const counted = ops.sum(counts);
      const errors = ops.mul(ops.square(ops.sub(ops.linear(x, params.weight), y)), counts);
      const loss = ops.div(ops.sum(errors), ops.maximum(counted, 1));
      const options = { learningRate, weight: counted, close: closeWindow };
      const next = optimiser.update(gradients(loss, params), before, params, options);
      return { loss, counted, params: next.params, optimiser: next.state };
    },
    {
      params: { weight },
      optimiser: layers.specsOf(state),
      x: spec("float32", ["n", 2]),
      y: spec("float32", ["n", 1]),
      counts: spec("float32", ["n", 1]),
      learningRate: spec("float32", []),
      closeWindow: spec("bool", []),
    },
  );
  const initial = { params: { weight: tensor("float32", [1, 2]) }, optimiser: state };
  const runner = await device.compile(program, { state: ["params", "optimiser"], initial });
  const rates: (number | null)[] = [];
  const made = (width: number, value: (index: number) => number) =>
    tensor(
      "float32",
      [rows, width],
      Array.from({ length: rows * width }, (_, index) => value(index)),
    );
  const data = training.tensorDataset({
    x: made(2, Math.sin),
    y: made(1, Math.cos),
    counts: made(1, (index) => (index % 3 === 1 ? 0 : 1)),
  });
  const result = await training.train({
    runner,
    data,
    batchSize,
    epochs: 5,
    generator: generator(1),
    shuffle: false,
    countedBy: "counted",
    learningRate: (update) => 0.1 / (1 + update),
    onStep: ({ learningRate }) => void rates.push(learningRate),
    ...more,
  });
  return { rates, result, weight: (await runner.readState())["params.weight"]! };
}

test("accumulated gradients of small batches are those of the large one, unequal and partly ignored ones too", async () => {
  const large = await accumulating(24, 24);
  // 24 rows in fives: batches of 5, 5, 5, 5 and 4, of which 3 or 4, 3, 2 or 3 ... count.
  for (const batchSize of [2, 3, 5, 7, 24]) {
    const accumulate = Math.ceil(24 / batchSize);
    const small = await accumulating(batchSize, 24, { accumulate });
    close(small.weight, large.weight);
    expect(small.rates.filter((_, step) => step % accumulate === 0)).toEqual(large.rates);
    for (const [epoch, { metrics }] of small.result.history.entries())
      expect(metrics.loss).toBeCloseTo(large.result.history[epoch]!.metrics.loss!, 5);
  }
});

test("the window closes with the epoch: six batches in fours are two updates, in eights one", async () => {
  const [fours, eights] = [await accumulating(4, 24, { accumulate: 4 }), await accumulating(4, 24, { accumulate: 8 })];
  expect(fours.rates.slice(0, 12)).toEqual([1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4].map((update) => 0.1 / update));
  expect(eights.rates.slice(0, 12)).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2].map((update) => 0.1 / update));
  close(eights.weight, (await accumulating(24, 24)).weight);
  await expect(training.train({ ...(await base()), accumulate: 2 })).rejects.toThrow(
    "a program that accumulates needs the input closeWindow; got one without it. Give optimisers.accumulate's `close`",
  );
});
