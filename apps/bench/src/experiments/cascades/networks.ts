import {
  countMacs,
  type Device,
  type Model,
  probeShapes,
  quantiseModel,
  readModel,
  writeModel,
} from "@exitkit/core-gpu";
import type { CascadeMember } from "@exitkit/early-exit";
import { batches } from "../../data/batches.ts";
import type { Dataset } from "../../data/directory.ts";
import { type Normalisation, PIXELS } from "../../data/normalisation.ts";
import { slicePictures } from "../../data/pictures.ts";
import { counted } from "../../measuring/counted.ts";
import { type Pretrained, pretrained } from "../../zoo/resnet.ts";
import type { Context } from "../experiment.ts";
import type { CascadesResult } from "./schema.ts";

/** The networks at hand, cheapest first; what all is compared with is the last in float. */
const BACKBONES = ["resnet8", "resnet20", "resnet32", "resnet44", "resnet56"] as const satisfies Pretrained[];
export const REFERENCE = "resnet56";

/** A network in one precision. */
export interface Network {
  /** "resnet20", "resnet20 8-bit". */
  readonly name: string;
  readonly backbone: Pretrained;
  readonly bits: 8 | 32;
  readonly model: Model;
  readonly normalisation: Normalisation;
  /** As a cascade on pixels from 0 to 255 takes it. */
  readonly member: CascadeMember;
  readonly macs: number;
  readonly bytes: number;
}

/** Reads the networks and quantises each, calibrated on training pictures. */
export async function readNetworks(
  { progress, run: folder }: Pick<Context, "progress" | "run">,
  device: Device,
  { train }: Dataset,
  calibrationPictures: number,
) {
  const networks: Network[] = [];
  const quantised: CascadesResult["quantised"][number][] = [];
  const weights: CascadesResult["weights"][number][] = [];
  const pictures = slicePictures(train, 0, Math.min(calibrationPictures, train.n));
  const stage = progress.stage("8 bits", BACKBONES.length, "networks");
  for (const name of BACKBONES) {
    const backbone = await pretrained(name);
    const { model, normalisation } = backbone;
    const macs = countMacs(model, await probeShapes(device, model)).total;
    const { bytes: written, ...report } = await folder.step(`8-bit-${name}`, async () => {
      const feeds = (async function* () {
        for await (const { x } of batches(pictures, 100, normalisation)) yield { [backbone.input]: x };
      })();
      const { model: made, report } = await quantiseModel(device, model, feeds);
      const worst = report.layers.reduce((a, b) => ((b.error ?? 0) > (a.error ?? 0) ? b : a));
      const { error, fusion } = report.outputs[0]!;
      return {
        bytes: writeModel(made),
        weightBits: report.weightBits,
        saturates: report.saturates,
        bytesBefore: report.bytes.before,
        bytesAfter: report.bytes.after,
        error,
        fusion,
        worstLayer: { tensor: worst.tensor, error: worst.error ?? 0 },
      };
    });
    weights.push(backbone.weights);
    quantised.push({ backbone: name, ...report });
    for (const [bits, own] of [
      [32, model],
      [8, readModel(written)],
    ] as const) {
      const title = bits === 32 ? name : `${name} 8-bit`;
      const member = {
        name: title,
        model: own,
        ...(normalisation === PIXELS ? {} : { normalise: onPixels(normalisation) }),
      };
      const bytes = writeModel(own).byteLength;
      networks.push({ name: title, backbone: name, bits, model: own, normalisation, member, macs, bytes });
    }
    stage.advance(1);
  }
  stage.done();
  return { networks, quantised, weights };
}

/** Mean and deviation of pixels from 0 to 255 instead of from 0 to 1. */
function onPixels({ mean, deviation }: Normalisation): NonNullable<CascadeMember["normalise"]> {
  return { mean: mean.map((value) => 255 * value), standardDeviation: deviation.map((value) => 255 * value) };
}

/** Logits [n, 10] of all test pictures. */
export async function logitsOf(
  { progress }: Pick<Context, "progress">,
  device: Device,
  { name, model, normalisation }: Network,
  { test }: Dataset,
): Promise<Float32Array> {
  const all = new Float32Array(test.n * 10);
  let at = 0;
  const session = await device.load(model);
  try {
    for await (const { x } of counted(progress, name, test, undefined, normalisation)) {
      const { logits } = await session.run({ input: x });
      all.set(logits!.data as Float32Array, at);
      at += logits!.data.length;
    }
  } finally {
    await session.release();
  }
  return all;
}
