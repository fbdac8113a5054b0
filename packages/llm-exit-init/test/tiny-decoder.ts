import { type Generator, generator, tensor } from "@exitkit/core-gpu";
import type { DecoderConfig } from "../src/decoders/config.ts";
import type { Decoder } from "../src/decoders/decoder.ts";
import { decoderOf } from "../src/decoders/program.ts";
import { cutWindows, type TokenWindows } from "../src/index.ts";

/** Llama-like: grouped queries, rotary positions, SwiGLU, tied head; 3 blocks, 13 tokens, 8 features. */
export const tinyConfig: DecoderConfig = {
  ...{ architecture: "llama", layers: 3, width: 8, heads: 2, keyHeads: 1, headWidth: 4, hidden: 12, vocabulary: 13 },
  ...{
    context: 24,
    norm: { kind: "rms", epsilon: 1e-5 },
    activation: "silu",
    gated: true,
    parallel: false,
    tied: true,
  },
  positions: { kind: "rotary", layout: "half", frequencies: [1, 0.1] },
};

/** The decoder of {@link tinyConfig}, or of another, with random weights. */
export function tinyDecoder(config = tinyConfig, seed = 1): Decoder {
  const random = generator(seed);
  const { width, headWidth, heads, keyHeads, hidden, vocabulary } = config;
  const matrix = (out: number, into: number) => ({ weight: normals(random, [out, into], 1 / Math.sqrt(into)) });
  const norm = () => ({
    weight: normals(random, [width], 0.2, 1),
    ...(config.norm.kind === "layer" ? { bias: normals(random, [width], 0.2) } : {}),
  });
  const block = () => ({
    norm1: norm(),
    attention: {
      query: matrix(heads * headWidth, width),
      key: matrix(keyHeads * headWidth, width),
      value: matrix(keyHeads * headWidth, width),
      output: matrix(width, heads * headWidth),
    },
    norm2: norm(),
    mlp: { gate: matrix(hidden, width), up: matrix(hidden, width), down: matrix(width, hidden) },
  });
  const params = {
    embedding: { weight: normals(random, [vocabulary, width], 1) },
    blocks: Array.from({ length: config.layers }, block),
    norm: norm(),
  };
  return decoderOf(config, params, null);
}

function normals(random: Generator, shape: readonly number[], scale: number, offset = 0) {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    "float32",
    shape,
    Float32Array.from({ length: size }, () => offset + scale * random.normal()),
  );
}

/** Text in which a token mostly says what comes next: windows of t tokens. */
export function tinyText(windows: number, length: number, seed = 1): TokenWindows {
  const random = generator(seed);
  let token = 1;
  const tokens = Array.from({ length: windows * length }, () => {
    token = random.uniform() < 0.8 ? (5 * token + 3) % 13 : random.integer(13);
    return token;
  });
  return cutWindows(tokens, length);
}
