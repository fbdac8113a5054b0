import { type Device, generator, type Tensor, type TreeRecord } from "@exitkit/core-gpu";
import type { Backbone } from "@exitkit/early-exit";
import { pruneBy, rankLabelNoise } from "@exitkit/eeprune";
import { brief } from "./choose.ts";
import type { Material } from "./network.ts";
import type { NoiseRow } from "./schema.ts";
import type { Settings } from "./settings.ts";

/**
 * Gives that share of the training pictures another class at random, trains briefly on all, and asks who finds them: the exits that
 * agree against a label, all of them and as many as were changed, and as many by forgetting and by the area under the margin.
 */
export async function labelNoise(
  device: Device,
  backbone: Backbone,
  params: TreeRecord<Tensor>,
  settings: Settings,
  material: Material,
  share: number,
  seed: number,
): Promise<readonly NoiseRow[]> {
  const { train } = material;
  const random = generator(seed);
  const changed = new Set(random.permutation(train.n).subarray(0, Math.round(share * train.n)));
  const others = backbone.classes - 1;
  const labels = train.labels.map((label, i) =>
    changed.has(i) ? (label + 1 + random.integer(others)) % backbone.classes : label,
  );
  const run = await brief(
    device,
    backbone,
    params,
    settings,
    { ...material, train: { ...train, labels } },
    "mid",
    seed,
  );
  const suspects = rankLabelNoise(run).map(({ id }) => id);
  // What a method would keep of all but that share is what it finds hardest.
  const hardest = (method: "forgetting" | "areaUnderMargin") => [
    ...pruneBy(method, run, { ratio: 1 - share, vanishing: "warn", generator: generator(seed) }).kept,
  ];
  const found = {
    "both exits, all": suspects,
    "both exits": suspects.slice(0, changed.size),
    areaUnderMargin: hardest("areaUnderMargin"),
    forgetting: hardest("forgetting"),
  };
  return Object.entries(found).map(([method, ids]) => {
    const right = ids.filter((id) => changed.has(id)).length;
    return {
      seed,
      share,
      method,
      changed: changed.size,
      flagged: ids.length,
      precision: right / Math.max(1, ids.length),
      recall: right / changed.size,
    };
  });
}
