import type { Session } from "@exitkit/core-gpu";
import { type AccumulateOptions, accumulateStatistics, openClassifier, solveExits } from "@exitkit/e2cm";
import { batches, oneBatch } from "../../../data/batches.ts";
import { slicePictures } from "../../../data/pictures.ts";
import { PASS_BATCH } from "../../../measuring/counted.ts";
import { quantile, timeInterleaved } from "../../../measuring/timing.ts";
import type { Method } from "./methods.ts";
import { CLASSES, type Subject } from "./subject.ts";

/** Pictures a second while fitting, against plain inference over the same pictures in the same rounds. */
export async function fitSpeed(subject: Subject) {
  const { context, backbone, device, data, settings, key } = subject;
  const { name, model, input } = backbone;
  if (settings.fitPasses === 0) return [];
  const pictures = slicePictures(data.train, 0, Math.min(data.train.n, settings.fitPasses * PASS_BATCH));
  const evenly = (count: number) => {
    const inner = backbone.blocks.slice(1);
    return Array.from({ length: count }, (_, index) => inner[Math.round(((index + 1) * inner.length) / count) - 1]!);
  };
  const passes: (readonly [string, Omit<AccumulateOptions, "classes">])[] = [
    ["euclidean, full features, 3 exits", { metric: "euclidean", taps: evenly(4).slice(0, 3) }],
    ["euclidean, full features, 9 exits", { metric: "euclidean", taps: evenly(9) }],
    ["euclidean, full features, every block", { metric: "euclidean", taps: backbone.blocks }],
    ["euclidean, pooled features, every block", { metric: "euclidean", features: "pooled", taps: backbone.blocks }],
    ["sharedCovariance, moments, 3 exits", {}],
  ];
  return context.run.step(key("fit-speed"), async () => {
    const stage = context.progress.stage(`${name}: fitting speed`, settings.rounds * (passes.length + 1), "passes");
    const plain = await device.load(model);
    const speeds = new Map<string, number[]>([
      ["plain", []],
      ...passes.map(([title]): [string, number[]] => [title, []]),
    ]);
    try {
      for (let round = 0; round < settings.rounds; round++) {
        speeds.get("plain")!.push(await plainSpeed(plain, input, pictures));
        stage.advance(1);
        for (const [title, options] of passes) {
          speeds.get(title)!.push(await passSpeed(subject, pictures, options));
          stage.advance(1);
        }
      }
    } finally {
      await plain.release();
      stage.done();
    }
    const plainPicturesPerSecond = quantile(speeds.get("plain")!, 0.5);
    return passes.map(([title]) => ({
      backbone: name,
      metric: title,
      pictures: pictures.n,
      fitPicturesPerSecond: quantile(speeds.get(title)!, 0.5),
      plainPicturesPerSecond,
      ratio: quantile(
        speeds.get(title)!.map((speed, round) => speed / speeds.get("plain")![round]!),
        0.5,
      ),
    }));
  });
}

/** After the first batch, which pays for loading and first touches. */
async function plainSpeed(session: Session, input: string, pictures: Parameters<typeof batches>[0]): Promise<number> {
  let begun = 0;
  let done = 0;
  for await (const batch of batches(pictures, PASS_BATCH)) {
    await session.run({ [input]: batch.x });
    if (begun === 0) begun = performance.now();
    else done += batch.y.length;
  }
  return (1000 * done) / (performance.now() - begun);
}

async function passSpeed(
  { backbone, device }: Subject,
  pictures: Parameters<typeof batches>[0],
  options: Omit<AccumulateOptions, "classes">,
): Promise<number> {
  let begun = 0;
  let first = 0;
  let last = 0;
  let done = 0;
  await accumulateStatistics(backbone.model, batches(pictures, PASS_BATCH), {
    ...options,
    classes: CLASSES,
    device,
    onProgress: (seen) => {
      last = performance.now();
      if (begun === 0) [begun, first] = [last, seen];
      done = seen;
    },
  });
  return (1000 * (done - first)) / (last - begun);
}

/**
 * What the exits add when nothing leaves: MACs, and time at batch 64, as shares of the plain network; of all exits of the
 * variant together, and of one.
 */
export async function overheadRows(subject: Subject, main: Method) {
  const { context, backbone, device, data, settings, key } = subject;
  const { name, model, input } = backbone;
  if (settings.overheadBudget === 0) return [];
  return context.run.step(key("overhead"), async () => {
    const { x } = oneBatch(slicePictures(data.test, 0, 64));
    const plain = await device.load(model);
    const { metric, variant, fits } = main;
    const variants = [...(await threeMeans(subject)), { metric, variant, fitted: fits[0]!.fitted }];
    const classifiers = [];
    try {
      for (const { fitted } of variants) {
        // No probability exceeds 1; with NEVER the exits would not be computed.
        classifiers.push(await openClassifier(model, fitted, { thresholds: fitted.exits.map(() => 1), device }));
      }
      const times = await timeInterleaved(
        [
          { name: "plain", run: () => plain.run({ [input]: x }) },
          ...classifiers.map((classifier, index) => ({ name: String(index), run: () => classifier.classify(x) })),
        ],
        { budget: settings.overheadBudget, leastRounds: 7, mostRounds: 101 },
      );
      const plainMs = times.get("plain")!.median;
      return variants.map(({ metric, variant, fitted: { exits, costs } }, index) => {
        const share = (costs.exits.at(-1)! - costs.full) / costs.full;
        const wallShare = times.get(String(index))!.median / plainMs - 1;
        const wallSharePerExit = wallShare / exits.length;
        return { backbone: name, metric, variant, exits: exits.length, share, wallShare, wallSharePerExit };
      });
    } finally {
      for (const classifier of classifiers) await classifier.release();
      await plain.release();
    }
  });
}

/** Class-means exits at three blocks, full and pooled; the numbers in them do not matter here. */
async function threeMeans({ backbone, device, data }: Subject) {
  const taps = [0.25, 0.5, 0.75].map((place) => backbone.blocks[Math.floor(place * backbone.blocks.length)]!);
  const some = slicePictures(data.train, 0, 256);
  const fit = async (variant: string, features: "full" | "pooled") => {
    const options = { classes: CLASSES, metric: "euclidean", features, taps, device } as const;
    const statistics = await accumulateStatistics(backbone.model, batches(some, PASS_BATCH), options);
    const fitted = await solveExits(backbone.model, statistics, { metric: "euclidean", device });
    return { metric: "euclidean", variant, fitted };
  };
  return [await fit("full", "full"), await fit("pooled4x4", "pooled")];
}
