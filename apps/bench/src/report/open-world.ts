import { COLUMN, figure, HALF, isPhone, NOT_MEASURED, responsive, table } from "./chart.ts";
import type { Headline } from "./headline.ts";
import { type Html, html } from "./html.ts";
import { type Line, legacyChart } from "./lines.ts";
import { count, decimal, percent, points } from "./numbers.ts";
import type { OpenWorldResult } from "./open-world-types.ts";
import { backboneName, distinct, metricSeries } from "./series.ts";

type Auroc = OpenWorldResult["rows"][number];
type Online = OpenWorldResult["online"][number];

const FULL = "full network";

/** Held-out classes by the name of their rows, the more telling first. */
const HELD_OUT: Readonly<Record<string, string>> = {
  "held out, unseen": "classes the network has never seen",
  "held out": "classes the network was trained on",
};

/** How well each score does at its best exit, and what rejection catches at what price. */
export function openWorldHeadline({ rows, rejection, online }: OpenWorldResult): Headline {
  const nothing = { detail: "", met: undefined, facts: [] };
  const [first] = rows;
  if (first === undefined) return { ...nothing, sentence: "The open world: nothing was measured in this run." };
  const own = rows.filter((row) => row.unknown === first.unknown && row.backbone === first.backbone);
  const best = (score: string) =>
    decimal(Math.max(...own.filter((row) => row.score === score).map((row) => row.auroc)), 3);
  const ways = rejection.filter((row) => row.backbone === first.backbone && row.at === "leaving");
  const tens = online.filter((row) => row.exit === FULL && row.predictFrom === "normalised" && row.samples === 10);
  const [few] = Object.keys(HELD_OUT).flatMap((unknown) => tens.find((row) => row.unknown === unknown) ?? []);
  return {
    ...nothing,
    sentence: `Unknown pictures (${first.unknown}) are told from known ones with an AUROC of ${best("novelty")} by their distance to the class means, and of ${best("maxProbability")} by the largest probability.`,
    detail:
      "At the best exit of each; all exits are below. AUROC is the probability that an unknown picture scores higher than a known one: 0.5 is chance, 1 is never wrong.",
    facts: [
      ...ways
        .filter((row) => row.metric === "sharedCovariance")
        .map(({ by, falseRejections, unknown }) => ({
          value: unknown.map(({ rejected }) => percent(rejected)).join(", "),
          name: `of unknown pictures (${unknown.map(({ kind }) => kind).join(", ")}) turned away by ${by}, and ${percent(falseRejections, 1)} of known ones`,
        })),
      ...(few === undefined
        ? []
        : [
            {
              value: percent(few.fresh.mean, 1),
              name: `of new classes’ pictures right, from 10 pictures a class: ${HELD_OUT[few.unknown]!}`,
            },
          ]),
    ],
  };
}

/** AUROC by exit: a chart for every network and kind of unknown picture. */
export function aurocSection({ rows }: OpenWorldResult): Html {
  if (rows.length === 0) return NOT_MEASURED;
  const charts = distinct(rows.map((row) => `${row.backbone}\n${row.unknown}`)).map((key) => {
    const [backbone, unknown] = key.split("\n") as [string, string];
    const own = rows.filter((row) => row.backbone === backbone && row.unknown === unknown);
    const lines = distinct(own.map((row) => `${row.metric}\n${row.score}`)).map((series) => aurocLine(own, series));
    const least = Math.min(0.5, ...own.map((row) => row.auroc)) - 0.02;
    return html`<div><h3>${backboneName(backbone)}: ${unknown}</h3>${responsive(
      (width) =>
        legacyChart({
          label: `${backboneName(backbone)}: AUROC of unknown pictures (${unknown}) by exit`,
          lines,
          x: { label: "MACs up to the exit", domain: [0, 1.1], format: (value) => percent(value) },
          y: { label: "AUROC", domain: [least, 1], format: (value) => decimal(value, 1) },
          width,
          height: isPhone(width) ? 300 : 320,
          reference: { y: 0.5, name: "chance" },
        }),
      HALF,
    )}</div>`;
  });
  return html`${figure(
    html`<div class="pair">${charts}</div>`,
    "Whole lines: the smallest distance to any class mean. Dashed lines: one minus the largest probability of the same exit. The pretrained networks have seen the classes that are “held out” of the means; they have not seen CIFAR-100. The networks of “held out, unseen” were trained here without the two classes. ±: standard deviation over pairs of held-out classes.",
  )}<details><summary>All ${rows.length} numbers</summary>${table(
    ["network, unknown pictures", "metric", "exit", "MACs", "score", "AUROC"],
    rows.map((row) => [
      `${backboneName(row.backbone)}, ${row.unknown}`,
      metricSeries(row.metric).name,
      row.exit,
      percent(row.macsFraction),
      row.score === "novelty" ? "distance" : "largest probability",
      `${decimal(row.auroc, 3)}${row.deviation === undefined ? "" : ` ± ${decimal(row.deviation, 3)}`}`,
    ]),
  )}</details>`;
}

function aurocLine(rows: readonly Auroc[], series: string): Line {
  const [metric, score] = series.split("\n") as [string, string];
  const dashed = score !== "novelty";
  const name = `${metricSeries(metric).name}${dashed ? ", probability" : ", distance"}`;
  return {
    name,
    color: metricSeries(metric).color,
    dashed,
    points: rows
      .filter((row) => row.metric === metric && row.score === score)
      .map((row) => ({
        x: row.macsFraction,
        y: row.auroc,
        title: `${row.exit}, ${name}: ${decimal(row.auroc, 3)}`,
      })),
  };
}

const AT: Readonly<Record<string, string>> = {
  none: "every picture is answered",
  leaving: "looked at when leaving",
  everyExit: "looked at by every exit",
};

/** What turning pictures away costs and saves. */
export function rejectionSection({ rejection, settings }: OpenWorldResult): Html {
  const [first] = rejection;
  if (first === undefined) return NOT_MEASURED;
  const kinds = first.unknown.map(({ kind }) => kind);
  const body = rejection.map((row) => [
    `${backboneName(row.backbone)}, ${metricSeries(row.metric).name}: ${AT[row.at] ?? row.at}${row.by === null ? "" : `, by ${row.by}`}`,
    percent(row.accuracy, 1),
    percent(row.answeredAccuracy, 1),
    percent(row.falseRejections, 1),
    percent(row.macsFraction, 1),
    ...row.unknown.flatMap(({ rejected, macsFraction }) => [percent(rejected, 1), percent(macsFraction, 1)]),
    row.leaving.map(({ share }) => percent(share)).join("\u00a0/\u00a0"),
  ]);
  return html`${table(
    [
      "network, exits, rejection",
      "known: right",
      "of those answered",
      "known: turned away",
      "known: MACs",
      ...kinds.flatMap((kind) => [`${kind}: turned away`, `${kind}: MACs`]),
      "known: leaving at each exit",
    ],
    body,
  )}<p class="caption">At most ${percent(1 - first.quantile)} of known pictures may be turned away. Thresholds lose at most ${settings === undefined ? "a little" : points(settings.wantedLoss)} against the plain network on the half of the test pictures that chose them, the same with and without rejection; the limits of rejection come from the same half. Reported on the other half, both ways. A picture turned away counts as wrong.</p>`;
}

/** Accuracy on new and old classes by the number of pictures the new ones were made of. */
export function onlineSection({ online }: OpenWorldResult): Html {
  if (online.length === 0) return NOT_MEASURED;
  const keys = distinct(online.map((row) => `${row.backbone}\n${row.unknown}`));
  const several = keys.length > 1;
  const charts = keys.map((key) => {
    const [backbone, unknown] = key.split("\n") as [string, string];
    const own = online.filter((row) => row.backbone === backbone && row.unknown === unknown && row.exit === FULL);
    const most = Math.max(...own.map((row) => Math.log10(row.samples ?? 1)));
    return html`<div><h3>${backboneName(backbone)}: ${unknown}</h3>${responsive(
      (width) =>
        legacyChart({
          label: `${backboneName(backbone)}: accuracy on new and old classes by pictures of each new class`,
          lines: ["fresh", "old"].flatMap((part) =>
            ["normalised", "raw"].map((rule) => onlineLine(own, part as "fresh" | "old", rule)),
          ),
          x: {
            label: "pictures of each new class",
            domain: [0, most],
            format: (value) => (Number.isInteger(value) ? count(10 ** value) : ""),
          },
          y: { label: "right, last exit", domain: [0, 1], format: (value) => percent(value) },
          width,
          height: isPhone(width) ? 300 : 320,
        }),
      several ? HALF : COLUMN,
    )}</div>`;
  });
  const shown = online.filter((row) => row.predictFrom === "normalised");
  return html`${figure(
    html`<div class="pair">${charts}</div>`,
    "Two of ten classes were left out of the class means and added later, without the pictures of the others. Blue: pictures of the new classes; red: of the old ones. Whole lines: nearest by normalised distance; dashed: by raw distance.",
  )}${table(
    [
      "network, exit",
      "pictures of each new class",
      "new classes right",
      "old classes right",
      "old before",
      "class pairs × draws",
    ],
    shown.map((row) => [
      `${backboneName(row.backbone)}, ${row.unknown}: ${row.exit}`,
      row.samples === null ? "all, as fitted again" : count(row.samples),
      spreadOf(row.fresh),
      spreadOf(row.old),
      spreadOf(row.before),
      `${count(row.seeds)} × ${count(row.draws)}`,
    ]),
  )}<p class="caption">±: standard deviation over all pairs of held-out classes and all draws of their pictures; of “old before”, when nothing was drawn, over the pairs only.</p>`;
}

function onlineLine(rows: readonly Online[], part: "fresh" | "old", rule: string): Line {
  const name = `${part === "fresh" ? "new" : "old"}, ${rule}`;
  return {
    name,
    color: part === "fresh" ? "var(--blue)" : "var(--red)",
    dashed: rule === "raw",
    points: rows
      .filter((row) => row.predictFrom === rule && row.samples !== null)
      .map((row) => ({
        x: Math.log10(row.samples!),
        y: row[part].mean,
        title: `${count(row.samples!)} pictures a class, ${name}: ${spreadOf(row[part])}`,
      })),
  };
}

function spreadOf({ mean, deviation }: Online["fresh"]): string {
  return `${percent(mean, 1)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 1)}`}`;
}

/** What was done, in words. */
export function openWorldWords({ data, unknown, settings, heldOut, unseen }: OpenWorldResult): Html {
  const kinds = (unknown?.kinds ?? []).map(({ kind, pictures }) => `${count(pictures)} ${kind}`).join(", ");
  const pairs = heldOut.map(({ classes }) => classes.join(" and ")).join("; ");
  return html`<dl>
<dt>Known pictures</dt><dd>${data === undefined ? "Not recorded." : `${data.name}: ${count(data.train)} training and ${count(data.test)} test pictures.`}</dd>
<dt>Unknown pictures</dt><dd>${unknown?.name ? `${unknown.name}, test part: ${kinds}. Far: of superclasses without a counterpart in CIFAR-10. Near: vehicles and four-legged animals, without pickup trucks.` : "No other data set was there (CIFAR-100 in the data folder)."}</dd>
<dt>Held out</dt><dd>Two classes of CIFAR-10, another two for every seed${pairs === "" ? "" : ` (${pairs})`}; the pretrained networks were trained on them, their class means were not.${settings === undefined ? null : ` Means of the eight others from the first ${count(settings.heldOutPictures)} training pictures without the held-out ones; ${count(settings.draws)} draws of pictures for every number of them.`}</dd>
${unseen.length === 0 ? null : html`<dt>Unseen</dt><dd>Two classes that the network has never seen, either: ${unseen.length === 1 ? "one ResNet-20" : `${count(unseen.length)} networks, each a ResNet-20`} trained here on the eight other classes only${settings?.unseen ? ` (of ${count(settings.unseen.pictures)} pictures, ${count(settings.unseen.epochs)} epochs)` : ""}. Without ${unseen.map(({ classes, accuracy }) => `${classes.join(" and ")}: ${percent(accuracy, 1)} right among the others`).join("; ")}.</dd>`}
<dt>Distance</dt><dd>Euclidean: to the nearest class mean, divided by that mean's typical distance. Shared covariance: to the nearest class mean in the space of the exit's scores, where the covariance within classes is the identity.</dd>
<dt>Turning away</dt><dd>One limit for all exits together, from ranks of calibration pictures: a known picture exceeds it at any exit with a probability of at most ${settings === undefined ? "5 %" : percent(1 - settings.quantile)}, whatever the classes look like.</dd>
</dl>`;
}
