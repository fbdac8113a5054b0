import { join } from "node:path";
import {
  compileProgram,
  type Device,
  gradients,
  layers,
  openDevice,
  ops,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { afterAll, describe, expect, test } from "vitest";
import type { Decoder } from "../src/decoders/decoder.ts";
import { layoutOf } from "../src/decoders/families/index.ts";
import { openDecoder } from "../src/decoders/open-decoder.ts";
import { readWeights } from "../src/weights/source.ts";
import { error, folder, golden } from "./decoder-fixtures.ts";

const device: Device = await openDevice("cpu");
afterAll(() => device.close());

/** Taps, last states, logits and the gradients of the next tokens' mean cross entropy. */
async function run(decoder: Decoder, feeds: { tokens: Tensor; mask?: Tensor }): Promise<Record<string, Tensor>> {
  const { dtype, shape } = feeds.tokens;
  const [n, t] = shape as [number, number];
  const step = trace(
    (given) => {
      const params = given.params as TreeRecord<Value>;
      const mask = "mask" in given ? { mask: given.mask as Value } : {};
      const { taps, last, logits } = decoder.apply(params, given.tokens as Value, mask);
      const before = ops.slice(logits, { axis: 1, to: t - 1 });
      const next = ops.slice(given.tokens as Value, { axis: 1, from: 1 });
      const loss = ops.crossEntropy(ops.reshape(before, [n * (t - 1), -1]), ops.reshape(next, [n * (t - 1)]));
      return { ...taps, last, logits, gradients: gradients(loss, params) };
    },
    {
      params: layers.specsOf<TreeRecord<Tensor>>(decoder.params) as TreeRecord<Spec>,
      tokens: spec(dtype, shape),
      ...(feeds.mask === undefined ? {} : { mask: spec("int64", shape) }),
    },
  );
  const session = await compileProgram(device, step);
  try {
    const params = layers.flattenParameters({ params: decoder.params });
    return await session.run({ ...params, ...(feeds as Record<string, Tensor>) });
  } finally {
    await session.release();
  }
}

const families = ["llama", "llama-tied", "qwen2", "gpt2", "opt", "gpt-neox"];
const files = ["llama", "qwen2", "gpt2", "gpt-neox"];

/** float16 and bfloat16 are exact in float32; what is left is float32's rounding. */
const close = 2e-5;

describe.each(families)("%s from a folder equals PyTorch", (name) => {
  const wanted = golden(name);
  test("states after each block, last states and logits; gradients of every weight", async () => {
    const decoder = await openDecoder(join(folder, name));
    expect(decoder.taps).toEqual(["block1", "block2"]);
    const results = await run(decoder, { tokens: wanted.tokens! });
    for (const output of ["block1", "block2", "last", "logits"]) {
      expect(error(results[output]!, wanted[output]!), output).toBeLessThan(close);
    }
    // PyTorch's gradients, read as if they were the model's weights.
    const { config, params } = decoder;
    const names = Object.keys(wanted).flatMap((key) => (key.startsWith("gradient:") ? [key.slice(9)] : []));
    const plan = layoutOf("test", "folder", config.architecture, name).plan(config, new Set(names));
    const read = async (key: string) => wanted[`gradient:${key}`] as Tensor<"float32">;
    const slopes = (await readWeights({ source: name, shapes: new Map(), read }, plan)) as TreeRecord<Tensor>;
    const flat = layers.flattenParameters(slopes);
    expect(Object.keys(flat)).toEqual(Object.keys(layers.flattenParameters(params)));
    // Those of the keys' biases are zero but for rounding: a share of the largest of all is the measure there.
    const largest = Math.max(...Object.values(flat).flatMap(({ data }) => Array.from(data as Float32Array, Math.abs)));
    for (const [path, slope] of Object.entries(flat)) {
      expect(error(results[`gradients.${path}`]!, slope, largest / 100), path).toBeLessThan(1e-4);
    }
  });

  test("int32 tokens; padding before a text changes nothing of it", async () => {
    const decoder = await openDecoder(join(folder, name));
    const tokens = tensor("int32", [2, 7], Array.from(wanted.tokens!.data, Number));
    const { logits } = await run(decoder, { tokens, mask: wanted.mask! });
    const v = decoder.config.vocabulary;
    const kept = Array.from(logits!.data, Number).filter(
      (_, at) => Number(wanted.mask!.data[Math.floor(at / v)]) === 1,
    );
    expect(error(tensor("float32", [12, v], kept), wanted.masked!)).toBeLessThan(close);
  });
});

test.each(files)("%s from a GGUF file has the same parameters and answers", async (name) => {
  const [fromFolder, fromFile] = [
    await openDecoder(join(folder, name)),
    await openDecoder(join(folder, `${name}.gguf`)),
  ];
  const strip = ({ params }: Decoder) => layers.flattenParameters(params);
  const [a, b] = [strip(fromFolder), strip(fromFile)];
  for (const [path, value] of Object.entries(a)) expect(b[path], path).toEqual(value);
  const wanted = golden(name);
  const { logits } = await run(fromFile, { tokens: wanted.tokens! });
  expect(error(logits!, wanted.logits!)).toBeLessThan(close);
});
