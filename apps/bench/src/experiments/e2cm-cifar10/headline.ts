import { pairedLoss } from "../../measuring/paired.ts";
import { count, percent, points } from "../../report/numbers.ts";
import type { Headline } from "../../report/report.ts";
import { backboneName } from "../../report/series.ts";
import { metricSeries } from "../e2cm/words.ts";
import type { E2cmCifar10Result } from "./schema.ts";

/** What exits gain and lose: time, computation, loss and whether the goal was met are of the same pictures. */
export function headline({
  backbones,
  wall,
  halvings = [],
}: Pick<E2cmCifar10Result, "backbones" | "wall"> & Partial<E2cmCifar10Result>): Headline {
  const main = backbones.at(-1);
  const row = wall
    .filter(({ backbone }) => backbone === main?.backbone)
    .sort((a, b) => (b.pictures ?? 0) - (a.pictures ?? 0))[0];
  if (main === undefined) return { sentence: "Exits by class means on CIFAR-10: nothing was measured in this run." };
  const who = backboneName(main.backbone);
  if (row === undefined) {
    const right = `${who} answers ${percent(main.accuracy, 1)} of the CIFAR-10 test pictures right`;
    return { sentence: `${right}; what its exits save was not measured in this run.` };
  }
  const { pictures = 0, macsFraction, wallFraction, wallRange, accuracy, fullAccuracy, wantedLoss, batch } = row;
  const lost = fullAccuracy - accuracy;
  const { margin } = pairedLoss(row.lostPictures ?? 0, row.gainedPictures ?? 0, pictures);
  const often = halvings.find(
    ({ backbone, metric, asked }) => backbone === row.backbone && metric === row.metric && asked === wantedLoss,
  );
  const kept = lost <= wantedLoss + 1e-9;
  const gains = [
    moreOrLess(1 - macsFraction, "fewer", "more multiply-accumulates"),
    moreOrLess(1 - wallFraction, "less", "more time"),
  ];
  return {
    sentence: `${gains[0]}, ${gains[1]}, ${lossWords(lost)}: ${who} on CIFAR-10, stopping early.`,
    detail: [
      `All of it on the same ${count(pictures)} test pictures, in batches of ${batch}: ${percent(fullAccuracy, 1)} right with the whole network, ${percent(accuracy, 1)} with exits by ${metricSeries(row.metric).name}, which took one pass over the training pictures.`,
      `The loss is ${points(lost)} ± ${points(margin)} (95 % interval: 1.96 standard errors of the differences picture by picture)${wallRange === undefined ? "" : `; the time ${percent(wallRange[0])} to ${percent(wallRange[1])} of the whole network's over ${row.runs} rounds, measured in turn`}.`,
      `Other test pictures chose when to leave, for a loss of at most ${points(wantedLoss)} that is kept on new pictures with probability 0.9.${often === undefined ? "" : ` This is, of ${often.halvings} random halvings of the test pictures, the one with the median number of MACs; in all of them ${points(often.guarded.lost)} were lost in the mean, and more than what was asked for in ${often.guarded.failed}.`}`,
    ].join(" "),
    goal: {
      text: `at most ${points(wantedLoss)} lost, less computation and less time`,
      met: kept && macsFraction < 1 && wallFraction < 1,
    },
    facts: [
      { value: percent(macsFraction), name: "of the multiply-accumulates" },
      { value: percent(wallFraction), name: "of the time" },
      { value: percent(accuracy, 1), name: `right, ${percent(fullAccuracy, 1)} without exits` },
    ],
  };
}

/** "27 % fewer multiply-accumulates", "3 % more time". */
function moreOrLess(saved: number, less: string, more: string): string {
  return saved >= 0 ? `${percent(saved)} ${less} ${more.replace(/^more /, "")}` : `${percent(-saved)} ${more}`;
}

function lossWords(lost: number): string {
  if (Math.abs(lost) < 0.00005) return "no accuracy lost";
  return lost > 0 ? `${points(lost)} of accuracy lost` : `${points(-lost)} of accuracy gained`;
}
