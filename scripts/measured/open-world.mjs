// Pictures of no known class, and classes added later.
// @ts-check
import { machine, name, percent, points, table, times } from "./words.mjs";

const FULL = "full network";

/** Its part of docs/measured.md; nothing for a result that does not hold what the words below say. */
export function page(result) {
  const { data, unknown, settings, heldOut, unseen, rows, rejection, online } = result;
  if (settings === undefined) return [];
  const kinds = unknown.kinds.map(({ kind, pictures }) => `${pictures.toLocaleString("en")} ${kind}`).join(", ");
  return [
    "## The open world",
    "",
    `Known: ${data.name}, ${data.train.toLocaleString("en")} training and ${data.test.toLocaleString("en")} test pictures. ${
      unknown.name === null
        ? ""
        : `Unknown: ${unknown.name}, ${kinds} (far: superclasses without a counterpart in CIFAR-10; near: other vehicles and four-legged animals). `
    }${machine(result)}.`,
    "",
    `Held out: two of CIFAR-10's classes, left out of the class means, which are made of the others among ${settings.heldOutPictures.toLocaleString("en")} training pictures; the pretrained networks were trained on them. The pairs: ${heldOut.map(pairOf).join("; ")}.`,
    "",
    ...(unseen.length === 0
      ? []
      : [
          `Unseen: two classes that the network has never seen, either. ${unseen.length} ${unseen.length === 1 ? "ResNet-20" : "networks (ResNet-20)"} trained on the eight others only, of ${settings.unseen.pictures.toLocaleString("en")} pictures, ${settings.unseen.epochs} epochs; without ${unseen.map((one) => `${pairOf(one)}: ${percent(one.accuracy)} right among the others`).join("; ")}.`,
          "",
        ]),
    "AUROC of unknown against known pictures: by distance to the nearest class mean / by one minus the exit's largest probability. ±: standard deviation over pairs of held-out classes.",
    "",
    ...auroc(rows),
    "### Turning pictures away",
    "",
    `At most ${(100 * (1 - settings.quantile)).toFixed(0)} % of known pictures may be turned away. Thresholds lose at most ${points(settings.wantedLoss)} against the plain network on the half of the test pictures that chose them, the same with and without rejection; the limits of rejection come from the same half. Reported on the other half, both ways. A picture turned away counts as wrong.`,
    "",
    table(
      [
        "network",
        "exits",
        "rejection",
        "known: right",
        "turned away",
        "MACs",
        ...(rejection[0]?.unknown ?? []).flatMap(({ kind }) => [`${kind}: turned away`, `${kind}: MACs`]),
        "known: leaving at each exit",
      ],
      rejection.map((row) => [
        name(row.backbone),
        row.metric,
        row.by === null ? "none" : `${row.at}, by ${row.by}`,
        percent(row.accuracy),
        percent(row.falseRejections),
        times(row.macsFraction),
        ...row.unknown.flatMap((one) => [percent(one.rejected), times(one.macsFraction)]),
        row.leaving.map(({ share }) => `${(100 * share).toFixed(0)} %`).join(", "),
      ]),
    ),
    "",
    "### New classes from a few pictures",
    "",
    "Two classes added to Euclidean class means of eight, answers by normalised distance. Means and standard deviations over pairs of held-out classes and draws of their pictures; “old before”, when nothing was drawn yet, over the pairs only.",
    "",
    table(
      ["network", "exit", "pictures a class", "new classes right", "old classes right", "old before", "pairs × draws"],
      online
        .filter(({ predictFrom }) => predictFrom === "normalised")
        .map((row) => [
          `${name(row.backbone)}, ${row.unknown}`,
          row.exit,
          row.samples === null ? "all" : String(row.samples),
          spread(row.fresh),
          spread(row.old),
          spread(row.before),
          `${row.seeds} × ${row.draws}`,
        ]),
    ),
    "",
  ];
}

function pairOf({ classes }) {
  return classes.join(" and ");
}

/** A table for each network and kind of unknown pictures: exits by metrics. */
function auroc(rows) {
  const keys = [...new Set(rows.map((row) => `${name(row.backbone)}, ${row.unknown}`))];
  return keys.flatMap((key) => {
    const own = rows.filter((row) => `${name(row.backbone)}, ${row.unknown}` === key);
    const metrics = [...new Set(own.map(({ metric }) => metric))];
    const exits = [...new Set(own.map(({ exit }) => exit))].sort((a, b) => Number(a === FULL) - Number(b === FULL));
    const at = (exit, metric, score) =>
      own.find((row) => row.exit === exit && row.metric === metric && row.score === score);
    const number = (row) =>
      `${row.auroc.toFixed(3)}${row.deviation === undefined ? "" : ` ± ${row.deviation.toFixed(3)}`}`;
    return [
      table(
        [key, ...metrics],
        exits.map((exit) => [
          exit,
          ...metrics.map((metric) => {
            const distance = at(exit, metric, "novelty");
            return distance === undefined ? "" : `${number(distance)} / ${number(at(exit, metric, "maxProbability"))}`;
          }),
        ]),
      ),
      "",
    ];
  });
}

function spread({ mean, deviation }) {
  return `${percent(mean)}${deviation === undefined ? "" : ` ± ${(100 * deviation).toFixed(2)}`}`;
}
