// Pictures of no known class, and classes added later.
// @ts-check
import { machine, name, percent, table, times } from "./words.mjs";

const FULL = "full network";

/** Its part of docs/measured.md. */
export function page(result) {
  const { data, unknown, rows, rejection, online, unseenAccuracy } = result;
  const kinds = unknown.kinds.map(({ kind, pictures }) => `${pictures.toLocaleString("en")} ${kind}`).join(", ");
  return [
    "## The open world",
    "",
    `Known: ${data.name}, ${data.train.toLocaleString("en")} training and ${data.test.toLocaleString("en")} test pictures. ${
      unknown.name === null
        ? ""
        : `Unknown: ${unknown.name}, ${kinds} (far: superclasses without a counterpart in CIFAR-10; near: other vehicles and four-legged animals). `
    }Held out: two of CIFAR-10's classes, left out of the class means; the pretrained networks were trained on them.${
      unseenAccuracy === null
        ? ""
        : ` Unseen: ResNet-20 trained on the eight others only, ${percent(unseenAccuracy)} right among them.`
    } ${machine(result)}.`,
    "",
    "AUROC of unknown against known pictures: by distance to the nearest class mean / by one minus the exit's largest probability.",
    "",
    ...auroc(rows),
    "### Turning pictures away",
    "",
    "At most 5 % of known pictures may be turned away; thresholds may lose two points. Both from one half of the test pictures, reported on the other, both ways.",
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
      ],
      rejection.map((row) => [
        name(row.backbone),
        row.metric,
        row.by === null ? "none" : `${row.at}, by ${row.by}`,
        percent(row.accuracy),
        percent(row.falseRejections),
        times(row.macsFraction),
        ...row.unknown.flatMap((one) => [percent(one.rejected), times(one.macsFraction)]),
      ]),
    ),
    "",
    "### New classes from a few pictures",
    "",
    "Two classes added to Euclidean class means of eight, answers by normalised distance; mean and standard deviation over draws and held-out classes.",
    "",
    table(
      ["network", "exit", "pictures a class", "new classes right", "old classes right", "old before", "repetitions"],
      online
        .filter(({ predictFrom }) => predictFrom === "normalised")
        .map((row) => [
          `${name(row.backbone)}, ${row.unknown}`,
          row.exit,
          row.samples === null ? "all" : String(row.samples),
          spread(row.fresh),
          spread(row.old),
          spread(row.before),
          String(row.repetitions),
        ]),
    ),
    "",
  ];
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
