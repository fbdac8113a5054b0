import type { Quality } from "../schema.ts";
import { adjustedRandIndex, mutualInformation } from "./agreement.ts";
import { hungarianMapping, mappedAccuracy } from "./hungarian.ts";

/**
 * Judges clusters by classes.
 *
 * @param mapping The class each cluster stands for. Default: the one-to-one mapping that fits these samples best.
 */
export function judge(
  clusters: Int32Array,
  classes: Int32Array,
  mapping: Int32Array = hungarianMapping(clusters, classes),
): Quality {
  return {
    accuracy: mappedAccuracy(mapping, clusters, classes),
    nmi: mutualInformation(clusters, classes),
    ari: adjustedRandIndex(clusters, classes),
  };
}
