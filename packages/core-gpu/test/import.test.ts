import { afterAll, describe, expect, it } from "vitest";
import {
  compileProgram,
  gradients,
  hashModel,
  importModel,
  openDevice,
  ops,
  type Program,
  readModel,
  type Tensor,
  trace,
  type Value,
  writeModel,
} from "../src/index.ts";
import { error, facts, golden, load, names, saved, trained } from "./import-support.ts";

const device = await openDevice("cpu");
afterAll(() => device.close());

/** Runs a program once, with the parameters as inputs. */
async function run(program: Program<unknown, unknown>, feeds: Record<string, Tensor>, opset?: number) {
  const session = await compileProgram(device, program, opset === undefined ? {} : { opset });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

function prefixed(prefix: string, tensors: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, value]) => [`${prefix}.${name}`, value]));
}

/** Loss and gradients of all trainable parameters, as a fine-tuning step has them. */
function stepOf(name: string, training: boolean) {
  const { input, output } = facts[name]!;
  const network = importModel(load(name));
  const labels = {
    dtype: "int64",
    shape: golden(name).labels!.shape.map((_, axis) => network.inputs[input]!.shape[axis]!),
  } as const;
  const program = trace(
    ({ params, x, y }) => {
      const result = training
        ? network.applyTraining(params, { [input]: x })
        : { outputs: network.apply(params, { [input]: x }), statistics: {} };
      const logits = result.outputs[output]!;
      const classes = logits.shape.at(-1)!;
      const loss = ops.crossEntropy(ops.reshape(logits, [-1, classes]), ops.reshape(y, [-1]));
      const trained = Object.fromEntries(network.trainable.map((key): [string, Value] => [key, params[key]!]));
      return { logits, loss, gradients: gradients(loss, trained), statistics: result.statistics };
    },
    { params: network.params, x: network.inputs[input]!, y: labels },
  );
  return { network, program };
}

describe.each(names)("%s", (name) => {
  const training = name.includes("training");
  const { input, output, parameters } = facts[name]!;
  const expected = golden(name);

  it("gives its framework's outputs", async () => {
    const network = importModel(load(name));
    expect(network.opaque).toEqual([]);
    expect(Object.keys(network.params)).toEqual(expect.arrayContaining(Object.keys(parameters)));
    if (training) return;
    const program = trace(({ params, x }) => network.apply(params, { [input]: x }), {
      params: network.params,
      x: network.inputs[input]!,
    });
    const result = await run(program, { ...prefixed("params", network.params), x: expected.input! });
    expect(error(result[output]!, expected.logits!)).toBeLessThan(1e-4);
  });

  it("has its framework's loss and first gradients", async () => {
    const { network, program } = stepOf(name, training);
    const feeds = { ...prefixed("params", network.params), x: expected.input!, y: expected.labels! };
    const result = await run(program, feeds);
    expect(error(result.logits!, expected.logits!)).toBeLessThan(1e-4);
    expect(error(result.loss!, expected.loss!)).toBeLessThan(1e-4);
    const wanted = Object.keys(expected).filter((key) => key.startsWith("gradient:"));
    expect(wanted.length).toBe(network.trainable.length);
    const errors = wanted.map((key) => [key, error(result[key.replace("gradient:", "gradients.")]!, expected[key]!)]);
    expect(errors.filter(([, worst]) => !(Number(worst) < 1e-4))).toEqual([]);
    const statistics = Object.keys(expected).filter((key) => key.startsWith("statistic:"));
    for (const key of statistics) {
      expect(error(result[key.replace("statistic:", "statistics.")]!, expected[key]!)).toBeLessThan(1e-4);
    }
    expect(program.outputs.filter((port) => port.name.startsWith("statistics.")).length).toBe(statistics.length);
  });

  it("is saved under the original names, as Python's runtime and checker accepted it, and gives the trained answers", async () => {
    const verdict = saved[name]!;
    const model = trained(name);
    expect(hashModel(model)).toBe(verdict.sha256);
    expect(verdict).toMatchObject({ checker: "accepted", onnxruntime: "ran" });
    const wanted = { shape: verdict.shape, data: Float32Array.from(verdict.logits) } as Tensor;
    const reread = readModel(writeModel(model));
    const session = await device.load(reread);
    const direct = await session.run({ [input]: expected.input! });
    await session.release();
    expect(error(direct[output]!, wanted)).toBeLessThan(1e-5);
    if (training) return;
    const network = importModel(reread);
    expect(Object.keys(network.params)).toEqual(Object.keys(importModel(load(name)).params));
    const program = trace(({ x }) => network.apply(network.params, { [input]: x }), { x: network.inputs[input]! });
    const result = await run(program, { x: expected.input! }, network.opset);
    expect(error(result[output]!, wanted)).toBeLessThan(1e-4);
  });
});
