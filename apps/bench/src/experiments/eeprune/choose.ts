import { type Device, generator, schedules, type Tensor, type TreeRecord } from "@exitkit/core-gpu";
import type { Backbone } from "@exitkit/early-exit";
import { type BriefRun, briefRun, type MethodName, pruneBy } from "@exitkit/eeprune";
import { augmentedPictures } from "../../data/augment.ts";
import { oneBatch } from "../../data/batches.ts";
import { type Material, PLACES, type Place } from "./network.ts";
import type { Settings } from "./settings.ts";
import { optimiserOf, stepsPerEpoch } from "./train.ts";

/** What one brief run chose, by method and ratio. */
export interface Choices {
  readonly cost: BriefRun["cost"];
  /** Shares of the training pictures that the exits answer right, and that both do. */
  readonly right: { readonly early: number; readonly final: number; readonly both: number };
  readonly kept: readonly {
    readonly method: MethodName;
    readonly ratio: number;
    readonly ids: Int32Array;
    readonly pruned: Int32Array;
  }[];
}

/** Trains a network with one early exit on all pictures, augmented, and scores them as they are. */
export async function brief(
  device: Device,
  backbone: Backbone,
  params: TreeRecord<Tensor>,
  settings: Settings,
  { train, normalisation, augmentation, peakLearningRate }: Material,
  place: Place,
  seed: number,
): Promise<BriefRun> {
  const { batch, briefEpochs } = settings;
  const { x, y } = oneBatch(train, normalisation);
  const labels = BigInt64Array.from(y, BigInt);
  const pick = (indices: Int32Array) => {
    const size = x.data.length / train.n;
    const data = new Float32Array(indices.length * size);
    indices.forEach((row, at) => {
      data.set(x.data.subarray(row * size, (row + 1) * size), at * size);
    });
    return {
      x: { ...x, shape: [indices.length, ...train.shape], data },
      y: { dtype: "int64" as const, shape: [indices.length], data: BigInt64Array.from(indices, (row) => labels[row]!) },
    };
  };
  const steps = briefEpochs * stepsPerEpoch(train.n, settings);
  return briefRun(device, { ...backbone, params }, augmentedPictures(train, normalisation, augmentation), {
    tap: PLACES[place],
    epochs: briefEpochs,
    batchSize: batch,
    generator: generator(seed),
    optimiser: optimiserOf(),
    learningRate: schedules.oneCycle({ maximum: peakLearningRate, steps: Math.max(2, steps), rise: 0.2 }),
    clean: { size: train.n, batch: pick },
    featuresTap: "features",
  });
}

/** What every method keeps at every ratio, from one run. */
export function choose(
  run: BriefRun,
  methods: readonly MethodName[],
  ratios: readonly number[],
  seed: number,
): Choices {
  const { labels, early, final, cost } = run;
  const share = (isRight: (i: number) => boolean) => labels.filter((_, i) => isRight(i)).length / labels.length;
  const [byEarly, byFinal] = [early, final].map(
    ({ prediction }) =>
      (i: number) =>
        prediction[i] === labels[i],
  );
  return {
    cost,
    right: { early: share(byEarly!), final: share(byFinal!), both: share((i) => byEarly!(i) && byFinal!(i)) },
    kept: methods.flatMap((method) =>
      ratios.map((ratio) => {
        const { kept, pruned } = pruneBy(method, run, { ratio, vanishing: "warn", generator: generator(seed) });
        return { method, ratio, ids: kept, pruned };
      }),
    ),
  };
}
