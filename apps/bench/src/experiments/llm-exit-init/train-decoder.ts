import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type Device,
  type Generator,
  generator,
  layers,
  ops,
  optimisers,
  schedules,
  spec,
  type Tensor,
  tensor,
  trace,
  training,
  writeFileAtomic,
  writeSafetensors,
} from "@exitkit/core-gpu";
import { type Decoder, openDecoder, type TokenWindows, windowDataset, withParameters } from "@exitkit/llm-exit-init";
import { STATE, stepOf, trainingState } from "../../training/programs.ts";
import type { Context } from "../experiment.ts";
import type { DecoderPlan } from "./settings.ts";

/** A decoder of its own kind, as llama2.c writes it, with weights that have seen nothing; `folder` holds it then. */
export async function freshDecoder(
  folder: string,
  pieces: string,
  plan: DecoderPlan,
  random: Generator,
): Promise<Decoder> {
  const { blocks, width, heads, keyHeads, hidden, vocabulary } = plan;
  const config = {
    ...{ dim: width, hidden_dim: hidden, n_layers: blocks, n_heads: heads, n_kv_heads: keyHeads },
    ...{ vocab_size: vocabulary, max_seq_len: 512, norm_eps: 1e-5, rope_theta: 10_000, tie_word_embeddings: true },
  };
  const drawn = (rows: number, d: number, deviation: number) =>
    tensor(
      "float32",
      [rows, d],
      Float32Array.from({ length: rows * d }, () => deviation * random.normal()),
    );
  const ones = () => tensor("float32", [width], new Float32Array(width).fill(1));
  const keys = (width / heads) * keyHeads;
  // What adds to the state is smaller the more blocks add, as in GPT-2.
  const into = 0.02 / Math.sqrt(2 * blocks);
  const weights: Record<string, Tensor> = {
    "tok_embeddings.weight": drawn(vocabulary, width, 0.02),
    "norm.weight": ones(),
  };
  for (let block = 0; block < blocks; block++) {
    const own = {
      ...{ attention_norm: ones(), ffn_norm: ones() },
      ...{ "attention.wq": drawn(width, width, 0.02), "attention.wk": drawn(keys, width, 0.02) },
      ...{ "attention.wv": drawn(keys, width, 0.02), "attention.wo": drawn(width, width, into) },
      ...{ "feed_forward.w1": drawn(hidden, width, 0.02), "feed_forward.w3": drawn(hidden, width, 0.02) },
      "feed_forward.w2": drawn(width, hidden, into),
    };
    for (const [name, value] of Object.entries(own)) weights[`layers.${block}.${name}.weight`] = value;
  }
  await mkdir(folder, { recursive: true });
  await copyFile(pieces, join(folder, "tokens.json"));
  await writeFileAtomic(join(folder, "config.json"), JSON.stringify(config));
  await writeFileAtomic(join(folder, "model.safetensors"), writeSafetensors(weights));
  return openDecoder(folder);
}

/** Trains a decoder to foretell the next token of text, Adam with a warm-up and a cosine; a killed run goes on. */
export async function trainDecoder(
  { run, progress }: Pick<Context, "run" | "progress">,
  device: Device,
  decoder: Decoder,
  windows: TokenWindows,
  { name, batch, epochs, learningRate }: DecoderPlan,
  seed: number,
): Promise<Decoder> {
  const data = windowDataset(windows);
  const t = windows.length - 1;
  const steps = Math.floor(data.size / batch) * epochs;
  const optimiser = optimisers.adamW({ weightDecay: 0.01 });
  const { initial, specs } = trainingState(decoder.params, optimiser);
  const program = trace(
    ({ x, y, ...given }) => {
      const { logits } = decoder.apply(given.params, x);
      const rows = ops.reshape(logits, [batch * t, decoder.config.vocabulary]);
      return stepOf(ops.crossEntropy(rows, ops.reshape(y, [batch * t])), given, optimiser, { clip: 1 });
    },
    {
      ...specs,
      ...{ x: spec("int64", [batch, t]), y: spec("int64", [batch, t]), learningRate: spec("float32", []) },
    },
  );
  const params = await run.step(`${name}-weights`, async () => {
    const runner = await device.compile(program, { state: STATE, initial });
    const stage = progress.stage(`${name}: training`, steps, "steps");
    try {
      await training.train({
        ...{ runner, data, batchSize: batch, epochs, dropLast: true, generator: generator(seed) },
        learningRate: schedules.warmUp(schedules.cosine({ initial: learningRate, final: learningRate / 10, steps }), {
          steps: Math.min(100, Math.ceil(steps / 10)),
        }),
        checkpoint: { folder: join(run.path, "checkpoints", name), keep: 1, everySteps: 50 },
        resume: true,
        onStep: () => stage.advance(1),
      });
      return layers.unflattenParameters(await runner.readState(), decoder.params, "params.");
    } finally {
      stage.done();
      await runner.release();
    }
  });
  return withParameters(decoder, params);
}
