import { fileURLToPath } from "node:url";
import {
  fitCarries,
  fitPixelExits,
  type PixelExit,
  type SegmentationExitNetwork,
  withCarries,
  withPixelExits,
} from "@exitkit/cbt";
import { type Device, readSafetensorsFile, type Tensor } from "@exitkit/core-gpu";
import {
  CAMVID,
  type FrameNormalisation,
  type FramePair,
  type ReadFrame,
  readFrames,
} from "../../data/segmentation.ts";
import { CAMVID_NORMALISATION, pretrainedCompactHr } from "../../zoo/compact-hr.ts";
import { type Espnet, espnet } from "../../zoo/espnet.ts";
import type { Context } from "../experiment.ts";

const assets = (path: string) => fileURLToPath(new URL(`../../../assets/${path}`, import.meta.url));

/** [h, w] of CamVid's frames. */
export const SIZE = [360, 480] as const;

/** How ESPNet takes CamVid's frames. */
export const NORMALISATION: FrameNormalisation = {
  channels: "bgr",
  mean: [110.33, 108.41, 105.03],
  deviation: [72.13 * 255, 72.69 * 255, 69.9 * 255],
};

/** A network with exits, and how it takes frames. */
export interface Subject {
  readonly name: string;
  readonly weights: { readonly backbone: string; readonly file: string; readonly sha256: string };
  readonly normalisation: FrameNormalisation;
  /** Names of the stages' ends, for tables. */
  readonly places: readonly string[];
  /** The network with exits; what needs frames takes the training frames. */
  build(context: Context, device: Device, train: readonly FramePair[]): Promise<SegmentationExitNetwork>;
}

/** The network that was trained here with masks, its work behind its exits. */
export async function compactSubject(): Promise<Subject> {
  const { network, file } = await pretrainedCompactHr(SIZE);
  return {
    name: "compact HR",
    weights: { backbone: "compact-hr", file: file.name, sha256: file.sha256! },
    normalisation: CAMVID_NORMALISATION,
    places: network.places,
    build: async () => network,
  };
}

/** The pretrained ESPNet of the repository, whose exits and carries come in closed form from the training frames. */
export async function espnetSubject(): Promise<Subject> {
  const file = "espnet_p_2_q_8_camvid.safetensors";
  const { tensors } = await readSafetensorsFile(assets(`espnet/${file}`));
  const network = espnet(tensors, SIZE);
  const sha256 = "b3381928d883d278e168a83b6dcdea9af26fd0696336eec240a4b3803c4dcfed";
  return {
    name: "ESPNet",
    weights: { backbone: "espnet", file, sha256 },
    normalisation: NORMALISATION,
    places: network.places,
    build: (context, device, train) => fitted(context, device, network, train),
  };
}

/** ESPNet with exits and carries in closed form, from the training frames. */
async function fitted(
  context: Context,
  device: Device,
  network: Espnet,
  train: readonly FramePair[],
): Promise<SegmentationExitNetwork> {
  const listed = (array: Float32Array) => Array.from(array);
  const revived = <T extends { readonly weights: readonly number[]; readonly bias: readonly number[] }>(own: T) => ({
    ...own,
    weights: Float32Array.from(own.weights),
    bias: Float32Array.from(own.bias),
  });
  const exits = await context.run.step("fit-exits", async () => {
    const found = await fitPixelExits(network, counted(context, train, NORMALISATION, "exits without training"), {
      device,
    });
    return found.map((exit) => ({ ...exit, weights: listed(exit.weights), bias: listed(exit.bias) }));
  });
  const withExits = withPixelExits(network, exits.map(revived) as readonly PixelExit[]);
  const carries = await context.run.step("fit-carries", async () => {
    const found = await fitCarries(withExits, onlyFrames(counted(context, train, NORMALISATION, "carries")), {
      device,
    });
    return found.map((own) => own.map((map) => ({ ...map, weights: listed(map.weights), bias: listed(map.bias) })));
  });
  return withCarries(
    withExits,
    carries.map((own) => own.map(revived)),
  );
}

/** Reads frames, counting them; each names its sequence as its group. */
export async function* counted(
  { progress }: Context,
  pairs: readonly FramePair[],
  normalisation: FrameNormalisation,
  title: string,
): AsyncGenerator<ReadFrame & { readonly group: string }> {
  const stage = progress.stage(title, pairs.length, "frames");
  for await (const frame of readFrames(pairs, CAMVID, normalisation, SIZE)) {
    yield { ...frame, group: frame.pair.sequence };
    stage.advance(1);
  }
  stage.done();
}

async function* onlyFrames(frames: AsyncIterable<ReadFrame>): AsyncGenerator<Tensor> {
  for await (const { x } of frames) yield x;
}
