import { access } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "@exitkit/core-gpu";
import { type FramePair, findFrames } from "./segmentation.ts";

/** CamVid's training and test frames. */
interface Frames {
  readonly name: string;
  readonly train: readonly FramePair[];
  readonly test: readonly FramePair[];
}

/** CamVid where the data folder has it, every so many training and test frames one; else the twenty frames of the repository. */
export async function camvid(
  directory: string | undefined,
  whole: boolean,
  steps: readonly [number, number],
): Promise<Frames> {
  const folder = directory === undefined ? undefined : join(directory, "camvid");
  const there =
    folder !== undefined &&
    (await access(folder).then(
      () => true,
      () => false,
    ));
  if (!whole || !there) {
    const own = fileURLToPath(new URL("../../assets/camvid", import.meta.url));
    if (whole && directory !== undefined) {
      const fix = "Put leftImg8bit and gtFine of CamVid there, or leave --data out for the frames of the repository.";
      throw new InputError("bench.camvid", `${folder} must be CamVid's folder`, "none", fix);
    }
    return { name: "CamVid, 20 frames", train: await findFrames(own, "train"), test: await findFrames(own, "test") };
  }
  const every = (pairs: readonly FramePair[], step: number) => pairs.filter((_, index) => index % step === 0);
  const [train, test] = [await findFrames(folder, "train"), await findFrames(folder, "test")];
  return {
    name: `CamVid, ${stepWords(steps[0])} training and ${stepWords(steps[1])} test frame`,
    train: every(train, steps[0]),
    test: every(test, steps[1]),
  };
}

function stepWords(step: number): string {
  const ordinals: Readonly<Record<number, string>> = { 1: "every", 2: "every second", 3: "every third" };
  return ordinals[step] ?? `every ${step}th`;
}
