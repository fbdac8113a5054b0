import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Device } from "../../src/device/device.ts";
import { openDevice } from "../../src/device/open.ts";
import { addTaps, ops, programToModel, spec, type Tensor, tensor, trace, type Value } from "../../src/index.ts";
import { cutStages } from "../../src/onnx/cut.ts";
import { changed } from "../../src/onnx/graph.ts";
import { describeModel, type Model, readModel } from "../../src/onnx/model.ts";
import { hostTensor } from "../../src/program/import/weights.ts";
import { type Quantised, quantiseModel } from "../../src/quantise/quantise-model.ts";
import { productsSaturate } from "../../src/quantise/saturation.ts";
import { generator } from "../../src/random.ts";
import { fixture, runOnce } from "../onnx-support.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

interface Golden {
  readonly parameters: Readonly<
    Record<string, { readonly scale: readonly number[]; readonly zeroPoint: readonly number[] }>
  >;
  readonly float: readonly (readonly number[])[];
  readonly theirs: readonly (readonly number[])[];
  readonly ours: readonly (readonly number[])[];
  readonly sha256: string;
}
const folder = new URL("../../fixtures/quantise/", import.meta.url);
const golden: Readonly<Record<string, Golden>> = JSON.parse(
  readFileSync(new URL("golden.json", folder), "utf8"),
).models;

/** The numbers generate.py makes. */
function numbers(model: Model, offset: number): Tensor {
  const shape = [16, ...(describeModel(model).inputs[0]!.shape.slice(1) as number[])];
  const size = shape.reduce((a, b) => a * b);
  const value = (_: unknown, i: number) => ((((i + offset) * 7919 + 13) % 1009) - 504) / 504;
  return tensor("float32", shape, Array.from({ length: size }, value));
}

const constant = (model: Model, name: string) => model.proto.graph!.initializer.find((weight) => weight.name === name);
const operators = (model: Model) => model.proto.graph!.node.map(({ opType }) => opType);
const argMax = (row: readonly number[]) => row.indexOf(Math.max(...row));
const rowsOf = ({ data, shape }: Tensor): number[][] =>
  Array.from({ length: shape[0]! }, (_, row) => [
    ...(data as Float32Array).subarray(row * shape[1]!, (row + 1) * shape[1]!),
  ]);

describe.each(["vgg", "mobilenet", "densenet"])("%s beside onnxruntime's quantiser", (name) => {
  const { parameters, float, theirs, ours, sha256 } = golden[name]!;
  let made: Quantised;
  beforeAll(async () => {
    const model = fixture(name);
    made = await quantiseModel(device, model, [{ x: numbers(model, 0) }], { weightBits: 8 });
  });

  test("scales and zero points of activations are the same", () => {
    // Theirs gives the result of an average pool its input's scale.
    const layers = made.report.layers.filter(({ scale, op }) => scale !== undefined && op !== "AveragePool");
    expect(layers.length).toBeGreaterThan(3);
    for (const { tensor: tensorName } of layers) {
      const scale = hostTensor("test", constant(made.model, `${tensorName}/scale`)!).data[0] as number;
      const zeroPoint = constant(made.model, `${tensorName}/zeroPoint`)!.rawData[0];
      const expected = parameters[tensorName]!;
      expect(Math.abs(scale / expected.scale[0]! - 1), tensorName).toBeLessThan(1e-6);
      expect(zeroPoint, tensorName).toBe(expected.zeroPoint[0]);
    }
  });

  test("scales of weights are the same, channel by channel", () => {
    const weights = made.model.proto.graph!.initializer.filter((weight) => weight.name.endsWith("/int8"));
    expect(weights.length).toBeGreaterThan(3);
    for (const { name: weight } of weights) {
      const scales = [...hostTensor("test", constant(made.model, `${weight}/scale`)!).data] as number[];
      const expected = parameters[weight.replace(/\/int8$/, "")]?.scale;
      expect(expected, weight).toHaveLength(scales.length);
      scales.forEach((scale, channel) => {
        expect(Math.abs(scale / expected![channel]! - 1)).toBeLessThan(1e-6);
      });
    }
  });

  test("answers are the same, and no further from the float network's", async () => {
    const result = await runOnce(made.model, { x: numbers(fixture(name), 5) });
    const rows = rowsOf(result.logits!);
    expect(rows.map(argMax)).toEqual(theirs.map(argMax));
    const worst = (answers: readonly (readonly number[])[]) =>
      Math.max(...answers.flatMap((row, i) => row.map((value, j) => Math.abs(value - float[i]![j]!))));
    expect(worst(rows)).toBeLessThan(1.5 * worst(theirs));
  });

  test("Python's runtime gives the same numbers", async () => {
    const bytes = readFileSync(new URL(`${name}.onnx`, folder));
    expect(createHash("sha256").update(bytes).digest("hex"), "run write.mjs, then generate.py").toBe(sha256);
    const stored = readModel(bytes);
    const { logits } = await runOnce(stored, { x: numbers(stored, 5) });
    rowsOf(logits!).forEach((row, i) => {
      row.forEach((value, j) => {
        expect(Math.abs(value - ours[i]![j]!)).toBeLessThan(1e-5);
      });
    });
    // And it is the model made now.
    expect(operators(stored)).toEqual(operators(made.model));
    for (const weight of stored.proto.graph!.initializer.filter(({ name }) => name.endsWith("/int8"))) {
      expect(constant(made.model, weight.name)!.rawData).toEqual(weight.rawData);
    }
  });

  test("every convolution and fully connected layer is done in 8 bits, at 25 dB or better", () => {
    const weighted = made.report.layers.filter(({ op }) => op === "Conv" || op === "Gemm");
    expect(weighted.map(({ bits }) => bits)).toEqual(weighted.map(() => 8));
    for (const { error } of weighted) expect(error).toBeLessThan(10 ** (-25 / 20));
    const [output] = made.report.outputs;
    expect(output).toMatchObject({ name: "logits", agreement: 1 });
    expect(output!.fusion).toBeLessThan(0.02);
  });
});

type Build = (x: Value, random: (shape: readonly number[]) => Tensor<"float32">) => Record<string, Value>;

/** A network of x [n, 4, 6, 6] with seeded weights as constants of the program. */
function network(build: Build, opset = 17): Model {
  const random = generator(5);
  const weights = (shape: readonly number[]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tensor(
      "float32",
      shape,
      Float32Array.from({ length: size }, () => random.normal() * 0.3),
    );
  };
  return programToModel(
    trace(({ x }) => build(x, weights), { x: spec("float32", ["n", 4, 6, 6]) }),
    { opset },
  );
}

const batch = (seed = 1, n = 32): { x: Tensor<"float32"> } => {
  const random = generator(seed);
  return {
    x: tensor(
      "float32",
      [n, 4, 6, 6],
      Float32Array.from({ length: n * 144 }, () => random.normal()),
    ),
  };
};
const convolution: Build = (x, w) => ({
  y: ops.relu(ops.conv(x, w([8, 4, 3, 3]), { bias: w([8]), padding: 1 })),
});
const layersOf = ({ report }: Quantised) => report.layers.map(({ op, bits }) => `${op} ${bits}`);

describe("what is done in 8 bits", () => {
  test("residual sums, concatenations, poolings; what only moves values runs on whole numbers", async () => {
    const model = network((x, w) => {
      const a = ops.relu(ops.conv(x, w([8, 4, 3, 3]), { bias: w([8]), padding: 1 }));
      const b = ops.conv(a, w([8, 8, 3, 3]), { padding: 1 });
      const sum = ops.relu(ops.add(a, b));
      const short = ops.pad(
        ops.slice(sum, [
          { axis: 2, step: 2 },
          { axis: 3, step: 2 },
        ]),
        [
          [0, 0],
          [4, 4],
          [0, 0],
          [0, 0],
        ],
      );
      const down = ops.conv(sum, w([16, 8, 3, 3]), { stride: 2, padding: 1 });
      const joined = ops.concat([ops.add(down, short), short], 1);
      return { y: ops.linear(ops.flatten(ops.globalAveragePool(joined)), w([5, 32]), w([5])) };
    });
    const { x } = batch();
    const made = await quantiseModel(device, model, [{ x }], { weightBits: 8 });
    expect(layersOf(made)).toEqual(
      ["Conv", "Conv", "Add", "Conv", "Add", "Concat", "GlobalAveragePool", "Gemm"].map((op) => `${op} 8`),
    );
    // A runtime reads every value where it lies: one rounding, no float in between.
    const { node } = made.model.proto.graph!;
    const producers = new Map(node.map(({ opType, output }) => [output[0]!, opType]));
    for (const moving of node.filter(({ opType }) => ["Slice", "Pad"].includes(opType))) {
      expect(["QuantizeLinear", "Slice"]).toContain(producers.get(moving.input[0]!));
    }
    const [output] = made.report.outputs;
    expect(output!.error).toBeLessThan(0.05);
    expect(output!.fusion).toBeLessThan(0.02);
  });

  test("depthwise and grouped convolutions", async () => {
    const model = network((x, w) => ({
      y: ops.conv(ops.relu(ops.conv(x, w([8, 1, 3, 3]), { groups: 4, padding: 1 })), w([8, 4, 3, 3]), { groups: 2 }),
    }));
    const made = await quantiseModel(device, model, [batch()], { weightBits: 8, biasCorrection: true });
    expect(layersOf(made)).toEqual(["Conv 8", "Conv 8"]);
    expect(made.report.outputs[0]!.error).toBeLessThan(0.03);
  });

  test("what has no 8-bit kernel stays in float and is listed; hard-swish's product is not lost", async () => {
    const model = network((x, w) => {
      const a = ops.conv(x, w([8, 4, 3, 3]), { padding: 1 });
      const gate = ops.mul(ops.clip(ops.add(a, 3), { minimum: 0, maximum: 6 }), 1 / 6);
      return { y: ops.conv(ops.mul(a, gate), w([4, 8, 1, 1])) };
    });
    const made = await quantiseModel(device, model, [batch()], { weightBits: 8 });
    const left = made.report.layers.filter(({ bits }) => bits === 32);
    expect(left.map(({ op, reason }) => `${op}: ${reason}`)).toEqual([
      "Add: reads a constant",
      "Clip: does not alone read an 8-bit node",
      "Mul: reads a constant",
    ]);
    expect(made.report.outputs[0]!.error).toBeLessThan(0.05);
  });

  test("a batch norm is folded into the convolution before it", async () => {
    const model = network((x, w) => {
      const variance = tensor("float32", [8], [1, 2, 3, 4, 0.5, 0.1, 1, 2]);
      return { y: ops.relu(ops.batchNorm(ops.conv(x, w([8, 4, 3, 3])), w([8]), w([8]), w([8]), variance)) };
    });
    const made = await quantiseModel(device, model, [batch()], { weightBits: 8 });
    expect(operators(made.model)).not.toContain("BatchNormalization");
    expect(layersOf(made)).toEqual(["Conv 8"]);
    const feeds = batch(2);
    const [expected, got] = [await runOnce(model, feeds), await runOnce(made.model, feeds)];
    const [layer] = made.report.layers;
    (got.y!.data as Float32Array).forEach((value, at) => {
      const wanted = (expected.y!.data as Float32Array)[at]!;
      // Samples of another batch may lie beyond the range seen.
      if (wanted < layer!.scale! * 250) expect(Math.abs(value - wanted)).toBeLessThan(6 * layer!.scale!);
    });
  });

  test("nodes asked for by name stay in float", async () => {
    const model = fixture("vgg");
    const names = model.proto.graph!.node.filter(({ opType }) => opType === "Conv").map(({ name }) => name);
    const x = numbers(model, 0);
    const made = await quantiseModel(device, model, [{ x }], { keepFloat: [names[0]!, names[4]!], weightBits: 8 });
    const convolutions = made.report.layers.filter(({ op }) => op === "Conv");
    expect(convolutions.map(({ bits }) => bits)).toEqual([32, 8, 8, 8, 32]);
    expect(convolutions[0]!.reason).toBe("asked for");
  });

  test("a bias that does not fit 32 bits leaves its layer in float", async () => {
    const model = network((x, w) => {
      const small = w([8, 4, 3, 3]);
      const tiny = { ...small, data: small.data.map((value) => value * 1e-9) } as Tensor<"float32">;
      const a = ops.conv(x, tiny, { bias: tensor("float32", [8], new Array(8).fill(5)) });
      return { y: ops.conv(a, w([4, 8, 1, 1])) };
    });
    const made = await quantiseModel(device, model, [batch()], { weightBits: 8 });
    expect(made.report.layers[0]).toMatchObject({ op: "Conv", bits: 32, reason: "its bias does not fit 32 bits" });
    expect(made.report.layers[1]).toMatchObject({ bits: 8 });
    expect(made.report.outputs[0]!.error).toBeLessThan(0.02);
  });

  test("activations that are constant or zero, and channels of zeros, give numbers", async () => {
    const model = network((x, w) => {
      const dead = tensor("float32", [8, 4, 3, 3]);
      const zero = ops.relu(ops.conv(x, dead, { bias: tensor("float32", [8]) }));
      const constant = ops.conv(zero, dead.shape[0] === 8 ? w([8, 8, 1, 1]) : dead, {
        bias: tensor("float32", [8], [1, 2, 3, 4, 5, 6, 7, 8]),
      });
      return { y: ops.conv(constant, w([4, 8, 1, 1])), zero };
    });
    const made = await quantiseModel(device, model, [batch()], { weightBits: 8 });
    const { y, zero } = await runOnce(made.model, batch(2));
    expect((zero!.data as Float32Array).every((value) => value === 0)).toBe(true);
    const expected = await runOnce(model, batch(2));
    (y!.data as Float32Array).forEach((value, at) => {
      expect(Math.abs(value - (expected.y!.data as Float32Array)[at]!)).toBeLessThan(0.1);
    });
  });
});

describe("options", () => {
  test("padding is exactly zero in a shifted range: border values are those of the float network", async () => {
    // Values in [1, 2]: a range that did not hold zero would pad with 1.
    const model = network((x) => ({
      y: ops.conv(x, tensor("float32", [1, 4, 3, 3], new Array(36).fill(1)), { padding: 1 }),
    }));
    const x = tensor(
      "float32",
      [2, 4, 6, 6],
      Float32Array.from({ length: 288 }, (_, i) => 1 + (i % 7) / 6),
    );
    const { model: quantised, report } = await quantiseModel(device, model, [{ x }], { weightBits: 8 });
    const [expected, got] = [await runOnce(model, { x }), await runOnce(quantised, { x })];
    (got.y!.data as Float32Array).forEach((value, at) => {
      const allowed = report.layers[0]!.scale! + 36 * (2 / 255);
      expect(Math.abs(value - (expected.y!.data as Float32Array)[at]!)).toBeLessThan(allowed / 2);
    });
  });

  test("int8 activations, one scale in all, 7 bits", async () => {
    const model = network(convolution);
    const feeds = batch();
    const errors: number[] = [];
    for (const options of [{}, { activations: "int8" }, { perChannel: false }, { weightBits: 7 }] as const) {
      const made = await quantiseModel(device, model, [feeds], { weightBits: 8, ...options });
      errors.push(made.report.outputs[0]!.error);
      expect(made.report.outputs[0]!.error).toBeLessThan(0.03);
      const type = "activations" in options ? 3 : 2;
      expect(constant(made.model, "x/zeroPoint")!.dataType).toBe(type);
      const codes = made.model.proto.graph!.initializer.find(({ name }) => name.endsWith("/int8"))!;
      const largest = Math.max(...new Int8Array(codes.rawData.slice().buffer).map(Math.abs));
      expect(largest).toBe("weightBits" in options ? 63 : 127);
      const scales = made.model.proto.graph!.initializer.find(({ name }) => name.endsWith("/int8/scale"))!;
      expect(scales.dims.map(Number)).toEqual("perChannel" in options ? [] : [8]);
    }
    // Coarser is worse.
    expect(errors[2]).toBeGreaterThan(errors[0]!);
    expect(errors[3]).toBeGreaterThan(errors[0]!);
  });

  test("bits of weights follow from a probe of the device, and the report says so", async () => {
    const saturates = await productsSaturate(device);
    const { report } = await quantiseModel(device, network(convolution), [batch()]);
    expect(report).toMatchObject({ saturates, weightBits: saturates ? 7 : 8 });
    const asked = await quantiseModel(device, network(convolution), [batch()], { weightBits: 7 });
    expect(asked.report).toMatchObject({ saturates: null, weightBits: 7 });
  });

  test("bias correction takes away the mean of what rounding the weights adds", async () => {
    const model = network((x, w) => ({ y: ops.conv(x, w([8, 4, 3, 3]), { bias: w([8]) }) }));
    const { x } = batch(1, 64);
    const shifted = { x: { ...x, data: x.data.map((value) => value + 3) } as Tensor<"float32"> };
    const meanError = async (biasCorrection: boolean) => {
      const options = { weightBits: 7, perChannel: false, biasCorrection } as const;
      const { model: quantised } = await quantiseModel(device, model, [shifted], options);
      const [expected, got] = [await runOnce(model, shifted), await runOnce(quantised, shifted)];
      const sums = new Float64Array(8);
      (got.y!.data as Float32Array).forEach((value, at) => {
        const channel = Math.floor(at / 16) % 8;
        sums[channel] = sums[channel]! + value - (expected.y!.data as Float32Array)[at]!;
      });
      return Math.max(...sums.map((sum) => Math.abs(sum) / (64 * 16)));
    };
    expect(await meanError(true)).toBeLessThan((await meanError(false)) / 3);
  });

  test("batches together give the ranges of their union, and streams are read once", async () => {
    const model = network(convolution);
    const [a, b] = [batch(1), batch(2)];
    const both = tensor("float32", [64, 4, 6, 6], Float32Array.from([...a.x.data, ...b.x.data]));
    let read = 0;
    async function* stream() {
      for (const feeds of [a, b]) {
        read++;
        yield feeds;
      }
    }
    for (const method of ["minMax", "percentile", "meanSquaredError", "entropy"] as const) {
      const options = { method, weightBits: 8 } as const;
      const streamed = await quantiseModel(device, model, stream(), options);
      const whole = await quantiseModel(device, model, [{ x: both }], options);
      const scales = ({ report }: Quantised) => report.layers.map(({ scale }) => scale);
      expect(scales(streamed)).toEqual(scales(whole));
    }
    expect(read).toBe(8);
    // A stream may fill the same memory again.
    async function* recycled() {
      const x = tensor("float32", [32, 4, 6, 6]);
      for (const feeds of [a, b]) {
        x.data.set(feeds.x.data);
        yield { x };
      }
    }
    const reports = await Promise.all(
      [stream(), recycled()].map((batches) => quantiseModel(device, model, batches, { weightBits: 8 })),
    );
    expect(reports[1]!.report).toEqual(reports[0]!.report);
  });

  test("taps keep their names as float32; other names are gone", async () => {
    const model = fixture("vgg");
    const x = numbers(model, 0);
    const tap = "/features/features.3/Relu_output_0";
    const plain = await quantiseModel(device, model, [{ x }], { weightBits: 8 });
    const tapped = await quantiseModel(device, model, [{ x }], { weightBits: 8, taps: [tap] });
    expect(() => cutStages(plain.model, [tap])).toThrow(/must be a tensor/);
    const [first, second] = cutStages(addTaps(tapped.model, [tap]), [tap]);
    // What crosses the cut to be computed on is whole numbers.
    expect(second!.inputs).toHaveLength(1);
    expect(second!.inputs[0]).toMatch(/quantised/);
    expect(first!.outputs).toContain(tap);
    const between = await runOnce(first!.model, { x });
    const inner = between[second!.inputs[0]!]!;
    expect(inner.dtype).toBe("uint8");
    const { logits } = await runOnce(second!.model, { [second!.inputs[0]!]: inner });
    expect(logits).toEqual((await runOnce(plain.model, { x })).logits);
  });
});

describe("what is refused, before any work", () => {
  const model = network(convolution);
  const refused = (given: Model, feeds: unknown = [batch()], options: object = {}) =>
    expect(quantiseModel(device, given, feeds as [], options)).rejects;

  test("a model that is quantised already, by the name of a node", async () => {
    const { model: quantised } = await quantiseModel(device, model, [batch()], { weightBits: 8 });
    await refused(quantised).toThrow(/must not be quantised already; got \d+ quantised nodes, the first "x\/quantised/);
  });

  test("an operator set below 13 with a scale per channel; without it 10 does", async () => {
    const old = network(convolution, 12);
    await refused(old).toThrow(/operator set 13 or later.*got 12.*perChannel: false/);
    const made = await quantiseModel(device, old, [batch()], { perChannel: false, weightBits: 8 });
    expect(made.report.outputs[0]!.error).toBeLessThan(0.03);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("calibration data with %d", async (value) => {
    const strange = batch();
    strange.x.data[200] = value;
    await refused(model, [batch(), strange]).toThrow(
      /finite numbers everywhere; got (NaN|Infinity) in tensor "x" at batch 1/,
    );
  });

  test("weights that are not finite", async () => {
    const broken = network((x, w) => {
      const weight = w([8, 4, 3, 3]);
      weight.data[5] = Number.NaN;
      return { y: ops.conv(x, weight) };
    });
    await refused(broken).toThrow(/must (be finite|give finite)/);
  });

  test("no batch, no batches, no model, no device", async () => {
    await refused(model, []).toThrow(/at least one batch/);
    await refused(model, 3).toThrow(/list or stream of feeds/);
    await refused(undefined as unknown as Model).toThrow(/the model must be one/);
    await expect(quantiseModel(undefined as unknown as Device, model, [batch()])).rejects.toThrow(/device must be/);
  });

  test("unknown options, nodes and taps", async () => {
    await refused(model, [batch()], { metod: "minMax" }).toThrow(/unknown option "metod"/);
    await refused(model, [batch()], { percentile: 0 }).toThrow(/percentile/);
    await refused(model, [batch()], { keepFloat: ["conv"] }).toThrow(/keepFloat must name nodes/);
    await refused(model, [batch()], { taps: ["relu"] }).toThrow(/taps must name tensors/);
    const before = model.proto.graph!.node.find(({ opType }) => opType === "Conv")!.output[0]!;
    await refused(model, [batch()], { taps: [before] }).toThrow(/whose activation is folded/);
  });

  test("a network without anything 8 bits could compute", async () => {
    await refused(network((x) => ({ y: ops.relu(x) }))).toThrow(/must have a convolution/);
    const all = model.proto.graph!.node.map(({ output }) => output[0]!);
    await refused(model, [batch()], { keepFloat: all }).toThrow(/asked for/);
  });

  test("the model given is not changed", async () => {
    const before = JSON.stringify(changed(model.proto, {}), (_, value) =>
      typeof value === "bigint" ? String(value) : value,
    );
    await quantiseModel(device, model, [batch()], { weightBits: 8 });
    expect(JSON.stringify(model.proto, (_, value) => (typeof value === "bigint" ? String(value) : value))).toBe(before);
  });
});
