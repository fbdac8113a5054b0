import { count, percent, points } from "../../report/numbers.ts";
import type { Headline } from "../../report/report.ts";
import { backboneName, capital } from "../../report/series.ts";
import { metricSeries } from "../e2cm/words.ts";
import type { E2cmCifar10Result } from "./schema.ts";
import { plainAccuracy } from "./tables.ts";

/** What the headline's thresholds were asked to lose at most on calibration pictures, where several were. */
const WANTED = 0.003;
/** What may be lost on new pictures for the goal to be met. */
const GOAL = 0.005;
/** Where a time does not say what loss was wanted, it belongs to an operating point when their costs are this near. */
const SAME_COST = 0.01;

/**
 * The operating point is chosen by what was wanted on the calibration pictures, never by what came out on the test
 * pictures: sound protocol before the paper's, wanted loss nearest to half a point, then the cheaper metric.
 */
export function headline(result: E2cmCifar10Result): Headline {
  const main = result.backbones.at(-1)?.backbone ?? result.operating.at(-1)?.backbone;
  const [point] = result.operating
    .filter((one) => one.backbone === main)
    .sort(
      (a, b) =>
        Number(b.protocol === "sound") - Number(a.protocol === "sound") ||
        Math.abs(a.wantedLoss - WANTED) - Math.abs(b.wantedLoss - WANTED) ||
        a.macsFraction - b.macsFraction,
    );
  const full = main === undefined ? result.full?.accuracy : plainAccuracy(result, main);
  if (main === undefined || point === undefined || full === undefined) return unmeasured(result, full);

  const times = result.wall
    .filter(
      (row) =>
        row.backbone === main &&
        row.metric === point.metric &&
        (row.wantedLoss === undefined
          ? Math.abs(row.macsFraction - point.macsFraction) <= SAME_COST &&
            Math.abs(row.accuracy - point.accuracy) <= SAME_COST
          : row.wantedLoss === point.wantedLoss),
    )
    .sort(
      (a, b) =>
        b.batch - a.batch ||
        Math.abs(a.macsFraction - point.macsFraction) - Math.abs(b.macsFraction - point.macsFraction),
    )
    .filter((row, index, all) => row.batch !== all[index - 1]?.batch);
  const time = times[0];
  const pictures = result.backbones.find((one) => one.backbone === main)?.testPictures ?? result.data?.test;
  const lost = full - point.accuracy;
  const who = `${backboneName(main)} answers ${pictures === undefined ? "the" : count(pictures)} CIFAR-10 pictures`;
  const met = lost <= GOAL + 1e-9 && point.macsFraction < 1 && (time === undefined || time.wallFraction < 1);
  return {
    sentence: `${who} with ${percent(point.macsFraction)} of the multiply-accumulates${timeWords(time?.wallFraction)}, ${lossWords(lost)}.`,
    detail: [
      `${capital(metricSeries(point.metric).name)}; thresholds chosen ${point.protocol === "sound" ? "on calibration pictures kept apart from everything else" : "on training pictures"}.`,
      met ? "" : shortfall(lost, GOAL, point.macsFraction, time?.wallFraction),
      time === undefined ? "Time was not measured at this setting." : timeDetail(time, point.macsFraction),
    ]
      .filter((part) => part !== "")
      .join(" "),
    goal: {
      text: `at most ${points(GOAL)} lost on new pictures, less computation${time === undefined ? "" : " and less time"}`,
      met,
    },
    facts: [
      { value: percent(point.macsFraction), name: "of the multiply-accumulates" },
      ...times.map((row) => ({ value: percent(row.wallFraction), name: `of the time, batch ${row.batch}` })),
      { value: percent(point.accuracy, 1), name: `right, full network ${percent(full, 1)}` },
    ],
  };
}

/** Times are taken on part of the pictures; where those cost otherwise than all of them, it is said. */
function timeDetail(time: { readonly batch: number; readonly macsFraction: number }, macsFraction: number): string {
  const own =
    Math.abs(time.macsFraction - macsFraction) <= SAME_COST
      ? ""
      : `, on pictures that cost ${percent(time.macsFraction)} of the multiply-accumulates`;
  return `Time in batches of ${time.batch}${own}.`;
}

function timeWords(fraction: number | undefined): string {
  if (fraction === undefined) return "";
  return fraction < 1 ? ` and ${percent(fraction)} of the time` : `, but takes ${percent(fraction)} of the time`;
}

function lossWords(lost: number): string {
  if (Math.abs(lost) < 0.00005) return "losing no accuracy";
  return lost > 0 ? `losing ${points(lost)} of accuracy` : `gaining ${points(-lost)} of accuracy`;
}

function shortfall(lost: number, wanted: number, macs: number, wall: number | undefined): string {
  return [
    lost > wanted + 1e-9 ? `It loses ${points(lost - wanted)} more than that on the test pictures.` : "",
    macs >= 1 ? "Nothing is saved: the exits cost what they spare." : "",
    wall !== undefined && wall >= 1 && macs < 1 ? "What is saved in computation does not show in time." : "",
  ]
    .filter((part) => part !== "")
    .join(" ");
}

function unmeasured(result: E2cmCifar10Result, full: number | undefined): Headline {
  const main = result.backbones.at(-1)?.backbone;
  const sentence =
    main === undefined || full === undefined
      ? "E²CM on CIFAR-10: no operating point was measured in this run."
      : `${backboneName(main)} answers ${percent(full, 1)} of the CIFAR-10 test pictures right; what its exits save was not measured in this run.`;
  return { sentence };
}
