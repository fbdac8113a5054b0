import { access } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError, readSafetensorsFile } from "@exitkit/core-gpu";
import { type FrameNormalisation, type FramePair, findFrames } from "../../data/segmentation.ts";
import { type Espnet, espnet } from "../../zoo/espnet.ts";

const assets = (path: string) => fileURLToPath(new URL(`../../../assets/${path}`, import.meta.url));

/** [h, w] of CamVid's frames. */
export const SIZE = [360, 480] as const;

/** How ESPNet takes CamVid's frames. */
export const NORMALISATION: FrameNormalisation = {
  channels: "bgr",
  mean: [110.33, 108.41, 105.03],
  deviation: [72.13 * 255, 72.69 * 255, 69.9 * 255],
};

/** The pretrained ESPNet of the repository. */
export async function pretrainedEspnet(): Promise<Espnet> {
  const { tensors } = await readSafetensorsFile(assets("espnet/espnet_p_2_q_8_camvid.safetensors"));
  return espnet(tensors, SIZE);
}

/** Its file, as assets/espnet/SOURCE.md has it. */
export const WEIGHTS = {
  backbone: "espnet",
  file: "espnet_p_2_q_8_camvid.safetensors",
  sha256: "b3381928d883d278e168a83b6dcdea9af26fd0696336eec240a4b3803c4dcfed",
} as const;

/** CamVid's training and test frames. */
export interface Frames {
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
    const own = assets("camvid");
    if (whole && directory !== undefined) {
      const fix = "Put leftImg8bit and gtFine of CamVid there, or leave --data out for the frames of the repository.";
      throw new InputError("bench.camvid", `${folder} must be CamVid's folder`, "none", fix);
    }
    return { name: "CamVid, 20 frames", train: await findFrames(own, "train"), test: await findFrames(own, "test") };
  }
  const every = (pairs: readonly FramePair[], step: number) => pairs.filter((_, index) => index % step === 0);
  const [train, test] = [await findFrames(folder, "train"), await findFrames(folder, "test")];
  return {
    name: `CamVid, ${counted(steps[0])} training and ${counted(steps[1])} test frame`,
    train: every(train, steps[0]),
    test: every(test, steps[1]),
  };
}

function counted(step: number): string {
  return step === 1 ? "every" : `every ${step}th`;
}
