import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compileProgram, openDevice, ops, spec, tensor, trace } from "@exitkit/core-gpu";
import { expect, test } from "vitest";
import { openDecoder } from "../src/index.ts";

const folder = fileURLToPath(new URL("../../../apps/bench/assets/llm-stories260k", import.meta.url));

test("stories260K decodes greedily to the text that llama2.c's own test expects", async () => {
  const decoder = await openDecoder(folder);
  const { tokenizer, params, config } = decoder;
  expect([config.layers, config.width, config.vocabulary, decoder.taps.length]).toEqual([5, 64, 512, 5]);
  const t = 96;
  const device = await openDevice("cpu");
  // The whole window every time; what stands behind the token that is looked at cannot be seen by it.
  const program = trace(({ tokens }) => ({ next: ops.argMax(decoder.apply(params, tokens).logits, { axis: -1 }) }), {
    tokens: spec("int32", [1, t]),
  });
  const session = await compileProgram(device, program);
  const ids = new Int32Array(t);
  ids[0] = tokenizer!.beginOfText!;
  for (let at = 0; at + 1 < t; at++) {
    const { next } = await session.run({ tokens: tensor("int32", [1, t], ids) });
    ids[at + 1] = Number(next!.data[at]);
  }
  await session.release();
  await device.close();
  // The text as far as SOURCE.md quotes it.
  const source = readFileSync(`${folder}/SOURCE.md`, "utf8").replace(/\s+/g, " ");
  const [, quoted] = /Greedy decoding from begin-of-text gives "(.*?) …"/.exec(source)!;
  expect(quoted!.length).toBeGreaterThan(100);
  expect(tokenizer!.decode([...ids])).toContain(quoted);
  expect(tokenizer!.decode([...ids]).indexOf(quoted!)).toBe(0);
});
