import { join } from "node:path";
import { writeSafetensorsFile } from "@exitkit/core-gpu";
import { z } from "zod";
import { camvid } from "../../data/camvid.ts";
import { CAMVID } from "../../data/segmentation.ts";
import { onDevice } from "../../measuring/device.ts";
import { lineFigure } from "../../report/lines.ts";
import { count, decimal, digits } from "../../report/numbers.ts";
import { tableOf } from "../../report/table.ts";
import {
  readTrainingFrames,
  SEGMENTER_RECIPE,
  type SegmenterRecipe,
  trainSegmenter,
} from "../../training/train-segmenter.ts";
import { CAMVID_NORMALISATION } from "../../zoo/compact-hr.ts";
import { type Context, experiment } from "../experiment.ts";
import { EPOCHS } from "../options.ts";
import { list, resultSchema } from "../result.ts";

const schema = resultSchema({
  frames: z.number(),
  /** Mean class-balanced cross-entropy of each exit over an epoch's steps. */
  rows: list(z.object({ epoch: z.number(), losses: list(z.number()) })),
});
type Result = z.output<typeof schema>;

interface Settings {
  /** Whether CamVid of the data folder is read rather than the twelve training frames of the repository. */
  readonly whole: boolean;
  readonly recipe: SegmenterRecipe;
}

/** The compact segmentation network, trained with masks. */
export const trainCamvid = experiment({
  name: "train-camvid",
  title: "The compact segmentation network, trained from scratch on CamVid",
  about:
    "Crops, mirroring, class-balanced cross-entropy of four exits, sure pixels masked in half of the steps. Killed at any moment it " +
    "goes on with the same bits; the weights are in the run's folder. The full preset reads camvid in --data.",
  heading: "Training a segmentation network",
  takes: [EPOCHS],
  presets: {
    quick: { whole: false, recipe: { ...SEGMENTER_RECIPE, epochs: 2, crop: [128, 160] } },
    full: { whole: true, recipe: SEGMENTER_RECIPE },
  },
  schema,
  run,
  summary: ({ rows }) => ({ table: lossTable(rows) }),
  report: ({ rows, frames }) => ({
    headline: {
      sentence:
        rows.length === 0
          ? "Training a segmentation network: nothing was measured in this run."
          : `Over ${rows.length} epochs of ${count(frames)} frames the full network's loss fell from ${decimal(rows[0]!.losses.at(-1)!, 2)} to ${decimal(rows.at(-1)!.losses.at(-1)!, 2)}.`,
    },
    sections: [
      {
        id: "train-camvid",
        title: "Losses of the exits, epoch by epoch",
        about: "On augmented training frames, while the network changes.",
        content: rows.length === 0 ? [] : [lossFigure(rows), lossTable(rows)],
      },
    ],
    method: { Recipe: "AdamW, a rate that falls as (1 − t)^0.9, crops that are resized, mirrored and lit at random." },
  }),
});

async function run(context: Context, { whole, recipe }: Settings) {
  const { run: folder, progress, extras, seed } = context;
  const { train } = await camvid(context.data.directory, whole, [1, 1]);
  const own = { ...recipe, epochs: extras.epochs ?? recipe.epochs };
  return onDevice(context, async (device) => {
    const frames = await readTrainingFrames(train, CAMVID);
    const { weights, losses } = await trainSegmenter({
      device,
      recipe: own,
      frames,
      normalisation: CAMVID_NORMALISATION,
      ignore: CAMVID.ignore,
      seed,
      folder: join(folder.path, "checkpoints"),
      onEpoch: (epoch, all) =>
        progress.note(`epoch ${epoch + 1} of ${own.epochs}: losses ${all.map(digits(3)).join(", ")}`),
    });
    await writeSafetensorsFile(join(folder.path, "compact-hr-camvid.safetensors"), weights);
    const rows = losses.map((all, epoch) => ({ epoch: epoch + 1, losses: all }));
    return { ranOn: device.kind, frames: frames.length, rows };
  });
}

function lossTable(rows: Result["rows"]) {
  return tableOf(rows, [
    ["epoch", "epoch"],
    ["exit 1", ({ losses }) => losses[0]!, digits(3)],
    ["exit 2", ({ losses }) => losses[1]!, digits(3)],
    ["exit 3", ({ losses }) => losses[2]!, digits(3)],
    ["full network", ({ losses }) => losses[3]!, digits(3)],
  ]);
}

function lossFigure(rows: Result["rows"]) {
  const most = Math.max(...rows.flatMap(({ losses }) => losses));
  const lines = [
    ["exit 1", 0, "var(--red)"],
    ["full network", 3, "var(--blue)"],
  ] as const;
  return lineFigure(
    [
      {
        title: "Compact HR",
        label: "Loss by epoch",
        lines: lines.map(([name, exit, color]) => ({
          name,
          color,
          points: rows.map(({ epoch, losses }) => ({ x: epoch, y: losses[exit]!, title: `epoch ${epoch}` })),
        })),
        x: { label: "epochs", domain: [0, rows.length], format: count },
        y: { label: "loss", domain: [0, most], format: digits(1) },
      },
    ],
    "Class-balanced cross-entropy of two exits.",
  );
}
