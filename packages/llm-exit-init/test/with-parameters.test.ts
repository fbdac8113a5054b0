import { layers, type Tensor, type TreeRecord, tensor } from "@exitkit/core-gpu";
import { expect, test } from "vitest";
import { withParameters } from "../src/index.ts";
import { tinyDecoder } from "./tiny-decoder.ts";

test("is the decoder that has these parameters", () => {
  const [one, other] = [tinyDecoder(undefined, 1), tinyDecoder(undefined, 2)];
  const both = withParameters(one, other.params);
  expect(both.params).toBe(other.params);
  expect(both.output).toEqual(other.output);
  expect(both.output).not.toEqual(one.output);
  expect([both.config, both.tokenizer, both.taps]).toEqual([one.config, one.tokenizer, one.taps]);
});

test("refuses parameters that are not its own", () => {
  const decoder = tinyDecoder();
  const changed = (change: (flat: Record<string, Tensor>) => void) => {
    const flat = { ...layers.flattenParameters(decoder.params) } as Record<string, Tensor>;
    change(flat);
    return () => withParameters(decoder, flat as TreeRecord<Tensor>);
  };
  const narrow = changed((flat) => {
    flat["norm.weight"] = tensor("float32", [7]);
  });
  expect(narrow).toThrow(
    'llm-exit-init.withParameters: "norm.weight" must be float32 [8], as the decoder\'s; got float32 [7]',
  );
  const less = changed((flat) => {
    delete flat["embedding.weight"];
  });
  expect(less).toThrow(/"embedding\.weight" must be float32 \[13, 8\].*got none/);
  expect(() => withParameters(decoder, undefined as never)).toThrow(/got none/);
});
