import type { Tensor } from "../src/index.ts";
import { distance, families, type GradientCase, gradientFeeds, gradientProgram } from "./gradients-support.ts";
import { fixture, type Packed } from "./program-support.ts";

/** The golden results and gradients of every operator, by family. Results without gradients are the family "program". */
export const contract: readonly (readonly [string, readonly GradientCase[]])[] = [
  [
    "program",
    fixture.cases.map((test) => ({
      ...test,
      arriving: test.outputs.map(() => null),
      gradients: test.tensors.map(() => null),
    })),
  ],
  ...families,
];

/** What a device computes programs with. */
export type Compute = (
  program: ReturnType<typeof gradientProgram>,
  feeds: Record<string, Tensor>,
  opset: number,
) => Promise<Record<string, Tensor>>;

/** Farther than this from PyTorch's float64 values, relative to the largest of them (or 1), is wrong. */
export interface Tolerance {
  readonly result: number;
  readonly gradient: number;
}

const float32: Tolerance = { result: 1e-5, gradient: 2e-5 };

/** Vulkan's sine and cosine may be off by 2⁻¹¹, and SwiftShader's are off by 2e-4. */
export function webgpuTolerance({ op }: GradientCase): Tolerance {
  return op === "sin" || op === "cos" ? { result: 2 ** -11, gradient: 2 ** -9 } : float32;
}

/** What is wrong with the results of {@link gradientProgram}; empty where nothing is. */
export function faults(
  cases: readonly GradientCase[],
  results: Readonly<Record<string, Tensor>>,
  toleranceOf: (test: GradientCase) => Tolerance = () => float32,
): readonly string[] {
  return cases.flatMap((test, number) => {
    const compare = (kind: keyof Tolerance, golden: Packed | null, index: number): string[] => {
      if (golden === null) return [];
      const found = results[`${kind === "result" ? "outputs" : "gradients"}.${number}.${index}`]!;
      const what = `ops.${test.op} ${JSON.stringify(test.args)}, case ${number}: ${kind} ${index}`;
      if (found.dtype !== golden.dtype || found.shape.join() !== golden.shape.join()) {
        return [`${what} is ${found.dtype} [${found.shape}], not ${golden.dtype} [${golden.shape}]`];
      }
      const far = distance(found, golden);
      const allowed = golden.dtype === "float32" ? toleranceOf(test)[kind] : 0;
      return far <= allowed ? [] : [`${what} is ${far} away from PyTorch's`];
    };
    return [
      ...test.outputs.flatMap((golden, index) => compare("result", golden, index)),
      ...test.gradients.flatMap((golden, index) => compare("gradient", golden, index)),
    ];
  });
}

/** The contract's operator set, or a later one where a case needs it. */
export function opsetOf(cases: readonly GradientCase[]): number {
  return Math.max(17, ...cases.map(({ opset = 17 }) => opset));
}

/** One case on a device: what is wrong with it. */
export async function check(compute: Compute, test: GradientCase, symbolic = false): Promise<readonly string[]> {
  const program = gradientProgram([test], { symbolic });
  return faults([test], await compute(program, gradientFeeds([test]), opsetOf([test])));
}
