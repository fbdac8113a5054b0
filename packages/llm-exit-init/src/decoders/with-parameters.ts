import { checkArguments, InputError, layers, type Tensor, type TreeRecord } from "@exitkit/core-gpu";
import type { Decoder } from "./decoder.ts";
import { type DecoderParameters, decoderOf } from "./program.ts";

/**
 * The same decoder with other parameters: after it was trained, its heads can be made anew from its new states.
 *
 * @param params As `decoder.params`: the `backbone` of what `trainExits` gives.
 * @throws InputError on parameters of other names or shapes.
 * @example
 * ```ts
 * import { openDecoder, withParameters } from "@exitkit/llm-exit-init";
 * const decoder = await openDecoder("stories260K");
 * console.assert(withParameters(decoder, decoder.params).output.weight === decoder.output.weight);
 * ```
 */
export function withParameters(decoder: Decoder, params: TreeRecord<Tensor>): Decoder {
  const caller = "llm-exit-init.withParameters";
  checkArguments(caller, { decoder: [decoder, { config: "an object", params: "an object" }] });
  const wanted = layers.flattenParameters(decoder.params);
  const given = typeof params === "object" && params !== null ? layers.flattenParameters(params) : {};
  for (const name of Object.keys({ ...wanted, ...given })) {
    const [expected, actual] = [wanted, given].map((all) => (all[name] === undefined ? "none" : printed(all[name])));
    if (expected !== actual) throw new InputError(caller, `"${name}" must be ${expected}, as the decoder's`, actual!);
  }
  return decoderOf(decoder.config, params as DecoderParameters, decoder.tokenizer);
}

function printed({ dtype, shape }: Tensor): string {
  return `${dtype} [${shape.join(", ")}]`;
}
