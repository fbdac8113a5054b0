import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { foldBatchNorm, InputError, readSafetensors, type Tensor } from "@exitkit/core-gpu";
import type { DataFile } from "../data/stored.ts";

/** The weight files that come with the repository, and their sha256. */
export const WEIGHTS = {
  "resnet20-12fca82f": "3a18f890bab88a2de3e09c8324a97d8d46a1cbce9ece9d0c8e1ea4c1495e1ad9",
  "resnet32-d509ac18": "897ca9a2e3e0f83d51ba9f0b65434c9242c2d4c896ded18d40f5bab4254875da",
  "resnet44-014dd654": "c0e417f177f2f9e763c00e58d95804957cda4a81899671d43ee57b972594bc76",
  "mlperf-tiny-resnet8": "1bcf006c3a8aaff78a1d23433663a891baa5498c73df727e8dfddc2c40a06908",
  "resnet56-4bfd9763": "79e3061ebf32571aa5141de4545f471b25a7a45d2a09d268d60a09e8b6bf034f",
  "compact-hr-camvid": "ad786d969de47174ddc33285f4a7658125bfec3b702355fc45d93ce5af2cfc75",
} as const;

/** The tensors of a network by their PyTorch names. */
export type Weights = Readonly<Record<string, Tensor>>;

/** The parts of a batch norm, in the order of the operator's operands, as PyTorch calls them. */
export const NORM = ["weight", "bias", "running_mean", "running_var"] as const;

/** A weight by its name. @throws InputError where there is none of float32. */
export function weightOf(caller: string, weights: Weights, name: string): Tensor<"float32"> {
  const found = weights[name];
  if (found?.dtype === "float32") return found as Tensor<"float32">;
  throw new InputError(caller, "weights must hold every layer's", `no "${name}"`);
}

/**
 * A convolution into which the batch norm behind it is folded: its `weight` and `bias` under their names.
 *
 * @throws InputError where a weight is missing.
 */
export function foldedConv(caller: string, weights: Weights, conv: string, norm: string, epsilon: number): Weights {
  const part = (name: string) => weightOf(caller, weights, name);
  const own = { weight: part(`${conv}.weight`), ...(`${conv}.bias` in weights && { bias: part(`${conv}.bias`) }) };
  const [scale, bias, mean, variance] = NORM.map((name) => part(`${norm}.${name}`)) as Four<Tensor<"float32">>;
  const folded = foldBatchNorm(own, { scale, bias, mean, variance }, { epsilon });
  return { [`${conv}.weight`]: folded.weight, [`${conv}.bias`]: folded.bias };
}

/** A batch norm's four values. */
export type Four<T> = [T, T, T, T];

/**
 * Reads one of the repository's weight files.
 *
 * @throws InputError when the file is missing or its sha256 is another one.
 */
export async function readWeights(name: keyof typeof WEIGHTS): Promise<{ weights: Weights; file: DataFile }> {
  const path = fileURLToPath(new URL(`../../assets/weights/${name}.safetensors`, import.meta.url));
  const wrong = (what: string, actual: string, cause?: unknown) =>
    new InputError("bench.readWeights", `${path} ${what}`, actual, "Check it out again.", cause);
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw wrong("must be readable", `${error.code}`, error);
  });
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (sha256 !== WEIGHTS[name]) throw wrong(`must have sha256 ${WEIGHTS[name]}`, `sha256 ${sha256}`);
  return { weights: readSafetensors(bytes).tensors, file: { name: `${name}.safetensors`, sha256 } };
}
