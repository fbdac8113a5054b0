import {
  checkArguments,
  InputError,
  readSafetensorsFile,
  type Tensor,
  tensor,
  writeFileAtomic,
  writeSafetensors,
} from "@exitkit/core-gpu";
import { z } from "zod";
import type { TokenStatistics } from "./token-statistics.ts";
import { TOKENS } from "./token-statistics.ts";

const FORMAT = "exitkit/llm-exit-init/statistics/1";

const header = z.object({
  format: z.literal(FORMAT),
  source: z.string(),
  norm: z.enum(["none", "final"]),
});

/**
 * Saves statistics as one safetensors file, float64, replaced as a whole: to go on later, or to merge on another machine.
 *
 * @throws InputError when the file cannot be written; an older one is then as it was.
 */
export async function saveTokens(path: string, statistics: TokenStatistics): Promise<void> {
  checkArguments("llm-exit-init.saveTokens", { path: [path, "a string"], statistics: [statistics, TOKENS] });
  const { source, norm, hidden, vocabulary: v, features: d, counts, sums, squares, gram, cross } = statistics;
  const tensors: Record<string, Tensor> = {
    counts: tensor("float64", [v], counts),
    sums: tensor("float64", [v, d], sums),
    squares: tensor("float64", [], [squares]),
  };
  if (hidden !== null) Object.assign(tensors, { hiddenWeight: hidden.weight, hiddenBias: hidden.bias });
  if (gram !== null) tensors.gram = tensor("float64", [d, d], gram);
  if (cross !== null) {
    tensors.lastSums = tensor("float64", [cross.features], cross.sums);
    tensors.lastSquares = tensor("float64", [], [cross.squares]);
    tensors.products = tensor("float64", [d, cross.features], cross.products);
  }
  await writeFileAtomic(path, writeSafetensors(tensors, { format: FORMAT, source, norm }));
}

/**
 * Reads what {@link saveTokens} wrote.
 *
 * @throws InputError when the file cannot be read, is cut short or damaged, or holds something else.
 */
export async function loadTokens(path: string): Promise<TokenStatistics> {
  const caller = "llm-exit-init.loadTokens";
  checkArguments(caller, { path: [path, "a string"] });
  const { tensors, metadata } = await readSafetensorsFile(path);
  const refuse = (actual: string): never => {
    throw new InputError(caller, `${path} must hold token statistics`, actual, "Save them with saveTokens.");
  };
  const parsed = header.safeParse(metadata);
  if (!parsed.success) return refuse(`format "${metadata.format ?? "none"}"`);
  const { source, norm } = parsed.data;
  const [v = 0, d = 0] = tensors.sums?.shape ?? [];
  const units = tensors.hiddenBias?.shape[0];
  const unit = (name: string, shape: readonly number[]): Tensor<"float32"> => {
    const found = tensors[name];
    if (found?.dtype === "float32" && found.shape.join() === shape.join()) return found as Tensor<"float32">;
    return refuse(`"${name}" ${found === undefined ? "missing" : `${found.dtype} [${found.shape.join(", ")}]`}`);
  };
  const take = (name: string, shape: readonly number[]): Float64Array => {
    const found = tensors[name];
    if (found?.dtype === "float64" && found.shape.join() === shape.join()) return found.data;
    return refuse(`"${name}" ${found === undefined ? "missing" : `${found.dtype} [${found.shape.join(", ")}]`}`);
  };
  const last = tensors.lastSums?.shape[0] ?? 0;
  return {
    source,
    norm,
    hidden:
      units === undefined
        ? null
        : { weight: unit("hiddenWeight", [units, d - units]), bias: unit("hiddenBias", [units]) },
    vocabulary: v,
    features: d,
    counts: take("counts", [v]),
    sums: take("sums", [v, d]),
    squares: take("squares", [])[0]!,
    gram: tensors.gram === undefined ? null : take("gram", [d, d]),
    cross:
      tensors.products === undefined
        ? null
        : {
            features: last,
            sums: take("lastSums", [last]),
            squares: take("lastSquares", [])[0]!,
            products: take("products", [d, last]),
          },
  };
}
