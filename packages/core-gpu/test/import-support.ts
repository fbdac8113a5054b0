import { readdirSync, readFileSync } from "node:fs";
import { exportModel, importModel, type Model, readModel, readSafetensors, type Tensor, tensor } from "../src/index.ts";

const folder = new URL("../fixtures/import/", import.meta.url);

interface Facts {
  readonly opset: number;
  readonly input: string;
  readonly output: string;
  /** The network's parameter that each initializer holds. */
  readonly parameters: Readonly<Record<string, string>>;
}

export const facts: Readonly<Record<string, Facts>> = Object.assign(
  {},
  ...["facts.json", "facts-keras.json", "facts-transformers.json"].map(
    (name) => (JSON.parse(readFileSync(new URL(name, folder), "utf8")) as { readonly models: object }).models,
  ),
);

interface Verdict {
  readonly sha256: string;
  readonly checker: string;
  readonly onnxruntime: string;
  /** Of the logits that Python's ONNX Runtime computed. */
  readonly shape: readonly number[];
  readonly logits: readonly number[];
}

/** What onnx.checker and Python's ONNX Runtime said about the models that {@link trained} gives. */
export const saved = (
  JSON.parse(readFileSync(new URL("saved.json", folder), "utf8")) as {
    readonly models: Readonly<Record<string, Verdict>>;
  }
).models;

export const names = readdirSync(folder)
  .filter((name) => name.endsWith(".onnx"))
  .map((name) => name.replace(".onnx", ""));

export function load(name: string): Model {
  return readModel(new Uint8Array(readFileSync(new URL(`${name}.onnx`, folder))), { source: `${name}.onnx` });
}

/** PyTorch's or TensorFlow's answers: `input`, `labels`, `logits`, `loss`, `gradient:<initializer>`, `statistic:<initializer>`. */
export function golden(name: string): Readonly<Record<string, Tensor>> {
  return readSafetensors(readFileSync(new URL(`${name}.safetensors`, folder))).tensors;
}

/**
 * Largest difference relative to the largest element of the golden tensor, or to 1e-4 where that is larger: keys' biases have the
 * gradient 0 but for rounding.
 */
export function error(actual: Tensor, wanted: Tensor): number {
  if (actual.data.length !== wanted.data.length) return Number.POSITIVE_INFINITY;
  const want = Array.from(wanted.data, Number);
  const scale = Math.max(1e-4, ...want.map(Math.abs));
  const worst = Math.max(...Array.from(actual.data, Number).map((value, at) => Math.abs(value - want[at]!)));
  return Number.isNaN(worst) ? Number.POSITIVE_INFINITY : worst / scale;
}

/** The parameters after one step of gradient descent with PyTorch's gradients: `parameter − 0.1 · gradient` in float32. */
function stepped(name: string): Record<string, Tensor> {
  const { params } = importModel(load(name));
  const gradients = Object.entries(golden(name)).filter(([key]) => key.startsWith("gradient:"));
  return Object.fromEntries(
    gradients.map(([key, gradient]): [string, Tensor] => {
      const parameter = key.replace("gradient:", "");
      const before = params[parameter]!;
      const data = Float32Array.from(
        Array.from(before.data, Number),
        (value, at) => value - 0.1 * Number(gradient.data[at]),
      );
      return [parameter, tensor("float32", before.shape, data)];
    }),
  );
}

/** The model with {@link stepped} parameters, as it is saved. */
export function trained(name: string): Model {
  return exportModel(load(name), stepped(name));
}
