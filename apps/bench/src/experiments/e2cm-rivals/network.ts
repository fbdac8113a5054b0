import { countMacs, type Device, macsUpTo, probeShapes } from "@exitkit/core-gpu";
import type { Augmentation } from "../../data/augment.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import type { PictureShape, Pictures } from "../../data/pictures.ts";
import type { Backbone } from "../../zoo/backbone.ts";
import { resnet } from "../../zoo/resnet.ts";
import type { Weights } from "../../zoo/weights.ts";

/** The plain network that all methods give exits to, and where the exits may stand. */
export interface RivalNetwork {
  readonly classes: number;
  /** Batch norms folded: the same function, quicker; for what leaves the network as it is. */
  readonly folded: Backbone;
  /** With batch norms, for what trains the network too. */
  readonly whole: Backbone;
  /** Of one picture. */
  readonly macs: number;
  /** For each block, the share of the MACs that are done behind it. */
  readonly places: readonly { readonly tap: string; readonly fraction: number }[];
}

/** What a method is fitted on and with. */
export interface Material {
  readonly device: Device;
  readonly network: RivalNetwork;
  readonly train: Pictures;
  readonly normalisation: Normalisation;
  readonly augmentation: Augmentation;
  /** Pictures of a training step. */
  readonly batch: number;
}

/** Shares of the compute at which Shallow-Deep Networks have exits. Source: the authors' code [S]. */
export const SDN_PLACES: readonly number[] = [0.15, 0.3, 0.45, 0.6, 0.75, 0.9];

/** A network by its depth and weights (PyTorch names). */
export async function rivalNetwork(
  device: Device,
  depth: number,
  weights: Weights,
  shape: PictureShape,
): Promise<RivalNetwork> {
  const folded = resnet(depth, weights, { shape });
  const { model, blocks } = folded;
  const count = countMacs(model, await probeShapes(device, model));
  return {
    classes: weights["linear.bias"]!.shape[0]!,
    folded,
    whole: resnet(depth, weights, { shape, folded: false }),
    macs: count.total,
    places: blocks.map((tap) => ({ tap, fraction: macsUpTo(model, count, [tap]) / count.total })),
  };
}

/**
 * For each share of the compute the last block that does not lie behind it, each block once.
 *
 * Differs: Shallow-Deep Networks take the nearest layer; so an exit here never costs more than its share, and the cost
 * fractions of the paper's table can be reached.
 */
export function tapsWithin({ places }: RivalNetwork, shares: readonly number[]): readonly string[] {
  const early = places.slice(1, -1);
  const found = shares.map((share) => (early.filter(({ fraction }) => fraction <= share).at(-1) ?? early[0]!).tap);
  return [...new Set(found)];
}
