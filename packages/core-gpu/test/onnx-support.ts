import { readFileSync } from "node:fs";
import type { InferenceSession as OrtSession } from "onnxruntime-node";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import type { Device } from "../src/device/device.ts";
import { describeModel, type Model, readModel, writeModel } from "../src/onnx/model.ts";
import { generator } from "../src/random.ts";
import { sizeOf, type Tensor, tensor } from "../src/tensor.ts";

/** Facts that Python's onnx and torch state about a fixture. */
export interface Facts {
  readonly bytes: number;
  readonly irVersion: number;
  readonly opset: number;
  readonly inputs: readonly [string, string, readonly (number | string)[]][];
  readonly outputs: readonly [string, string, readonly (number | string)[]][];
  readonly initializers: readonly [string, string, readonly number[]][];
  readonly operators: Readonly<Record<string, number>>;
  readonly macs?: number;
}

export const networks = ["resnet20", "resnet56", "vgg", "densenet", "mobilenet", "transformer", "two-inputs"] as const;

export function fixtureBytes(name: string): Uint8Array {
  return readFileSync(new URL(`../fixtures/onnx/${name}.onnx`, import.meta.url));
}

export function fixture(name: string): Model {
  return readModel(fixtureBytes(name), { source: `${name}.onnx` });
}

export function facts(): Readonly<Record<string, Facts>> {
  return JSON.parse(readFileSync(new URL("../fixtures/onnx/facts.json", import.meta.url), "utf8")).models;
}

type Values = Record<string, Tensor>;

/** The plainest device: onnxruntime-node on one thread, without any of the package's own checks. */
export function plainDevice(): Device {
  return {
    kind: "cpu",
    passedOver: [],
    close: async () => {},
    compile: () => Promise.reject(new Error("the plain device only loads models")),
    load: async (model, options) => {
      const bytes = model instanceof Uint8Array ? model : writeModel(model);
      const session = await InferenceSession.create(bytes, {
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
        graphOptimizationLevel: options?.optimization === "none" ? "disabled" : "all",
      });
      return {
        inputs: [],
        outputs: [],
        notes: [],
        run: async (feeds, run) => runSession(session, feeds as Readonly<Record<string, Tensor>>, run?.outputs),
        release: () => session.release(),
      };
    },
  };
}

async function runSession(session: OrtSession, feeds: Readonly<Values>, outputs?: readonly string[]): Promise<Values> {
  const ort = Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, data, shape }]) => [
      name,
      new OrtTensor(dtype, data as Float32Array, [...shape]),
    ]),
  );
  const results = await session.run(ort, [...(outputs ?? session.outputNames)]);
  return Object.fromEntries(
    Object.entries(results).map(([name, value]) => [
      name,
      { dtype: value.type, shape: [...value.dims], data: value.data } as unknown as Tensor,
    ]),
  );
}

/** Loads a model, runs it once and releases it. */
export async function runOnce(
  model: Model,
  feeds: Readonly<Values>,
  optimization: "none" | "all" = "all",
): Promise<Values> {
  const session = await plainDevice().load(model, { optimization });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

/** Normally distributed inputs for a model; symbolic dimensions are n. */
export function randomFeeds(model: Model, n: number, seed = 1): Values {
  const random = generator(seed);
  return Object.fromEntries(
    describeModel(model).inputs.map(({ name, shape }) => {
      const dims = shape.map((size) => (typeof size === "number" ? size : n));
      return [
        name,
        tensor(
          "float32",
          dims,
          Float32Array.from({ length: sizeOf(dims) }, () => random.normal()),
        ) as Tensor,
      ];
    }),
  );
}

/** Element types of the fixture `dtypes` as onnx.shape_inference finds them; null for what is no tensor. */
export function inferredTypes(): Readonly<Record<string, string | null>> {
  return JSON.parse(readFileSync(new URL("../fixtures/onnx/facts.json", import.meta.url), "utf8")).types;
}
