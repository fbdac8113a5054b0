// Early exit by class means on CIFAR-10.
// @ts-check
import { machine, name, percent, points, signed, table, times } from "./words.mjs";

/** The lines of the README. */
export function headline(e2cm) {
  const { rows, plain } = ofMain(e2cm);
  const shown = rows.filter(({ wantedLoss }) => [0.002, 0.003, 0.005, 0.01].includes(wantedLoss));
  const wall = e2cm.wall.filter(({ backbone }) => backbone === plain.backbone);
  return [
    `${name(plain.backbone)} on CIFAR-10, ${plain.testPictures.toLocaleString("en")} test pictures, ${percent(plain.accuracy)} right; exits fitted in one pass over`,
    `${e2cm.data.train.toLocaleString("en")} training pictures, no gradient. Thresholds from one half of the test pictures, reported on the other, both ways:`,
    "",
    table(
      ["asked to lose at most", "right", "MACs, exits included"],
      shown.map((row) => [
        points(row.wantedLoss),
        `${percent(row.accuracy)} (${signed(row.accuracy - plain.accuracy)})`,
        times(row.macsFraction),
      ]),
    ),
    "",
    `Wall clock when asked to lose at most ${points(wall[0].wantedLoss)}: the first ${timed(wall.at(-1))} pictures of the second half (${timed(wall[0])} one by one), thresholds from the first half; against one plain session, interleaved, medians:`,
    "",
    table(
      ["batch", ...wall.map(({ batch }) => String(batch))],
      [
        ["time", ...wall.map(({ wallFraction }) => times(wallFraction))],
        ["MACs", ...wall.map(({ macsFraction }) => times(macsFraction))],
        ["right, of the pictures timed", ...wall.map(({ accuracy }) => percent(accuracy))],
        ["plain network, the same pictures", ...wall.map(({ fullAccuracy }) => percent(fullAccuracy))],
      ],
    ),
    "",
    `Measured on ${machine(e2cm)}. More, and how: [docs/measured.md](docs/measured.md).`,
  ].join("\n");
}

/** Its part of docs/measured.md. */
export function page(e2cm) {
  const depth = e2cm.perExit.filter(({ backbone }) => backbone === e2cm.backbones.at(-1).backbone);
  const every = [...new Set(depth.map((row) => row.depth))].filter((block) => block > 0 && block % 3 === 0);
  const at = (metric, variant, block) =>
    depth.find((row) => row.metric === metric && row.variant === variant && row.depth === block);
  const cell = (row) => (row === undefined ? "" : percent(row.accuracy));
  return [
    "## Early exit by class means, CIFAR-10",
    "",
    `${e2cm.data.name}: ${e2cm.data.train.toLocaleString("en")} training and ${e2cm.data.test.toLocaleString("en")} test pictures. ${machine(e2cm)}.`,
    "",
    ...e2cm.backbones.flatMap(({ backbone, accuracy, macs }) => [
      `### ${name(backbone)}: ${percent(accuracy)} right with ${(macs / 1e6).toFixed(1)} million MACs`,
      "",
      "Sound protocol: thresholds from one half of the test pictures, reported on the other half, both ways.",
      "",
      table(
        ["asked to lose at most", ...methods(e2cm, backbone).map(({ title }) => title)],
        [0, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.05].map((loss) => [
          points(loss),
          ...methods(e2cm, backbone).map(({ rows }) => {
            const row = rows.find(({ wantedLoss }) => wantedLoss === loss);
            return row === undefined ? "" : `${times(row.macsFraction)}, ${signed(row.accuracy - accuracy)}`;
          }),
        ]),
      ),
      "",
      "Each cell: MACs as a fraction of the plain network, exits included, and the change of accuracy in points.",
      "",
    ]),
    `### ${name(e2cm.backbones.at(-1).backbone)}: accuracy if every picture left at an exit`,
    "",
    table(
      [
        "after block",
        "class means, all features",
        "class means, pooled",
        "shared covariance, pooled",
        "shared covariance, second moments",
      ],
      every.map((block) => [
        String(block),
        cell(at("euclidean", "full", block)),
        cell(at("euclidean", "pooled4x4", block)),
        cell(at("sharedCovariance", "pooled4x4", block)),
        cell(at("sharedCovariance", "moments", block)),
      ]),
    ),
    "",
    `### Wall clock, asked to lose at most ${points(e2cm.wall[0].wantedLoss)}`,
    "",
    "On the first pictures of the second half, thresholds from the first half.",
    "",
    table(
      ["network", "batch", "pictures", "MACs", "time", "plain ms", "in stages ms", "right (plain)", "rounds"],
      e2cm.wall.map((row) => [
        name(row.backbone),
        String(row.batch),
        timed(row),
        times(row.macsFraction),
        times(row.wallFraction),
        row.plainMs.toFixed(2),
        row.stagedMs.toFixed(2),
        `${percent(row.accuracy)} (${percent(row.fullAccuracy)})`,
        String(row.runs),
      ]),
    ),
    "",
    "### Speed of fitting, against plain inference over the same pictures",
    "",
    table(
      ["network", "pass", "pictures/s", "plain", "ratio"],
      e2cm.fit.map((row) => [
        name(row.backbone),
        row.metric,
        row.fitPicturesPerSecond.toFixed(0),
        row.plainPicturesPerSecond.toFixed(0),
        row.ratio.toFixed(3),
      ]),
    ),
    "",
    "### What exits add when nothing leaves, batch 64",
    "",
    table(
      ["network", "exits", "MACs", "time", "time of one exit, its cut included"],
      e2cm.overhead.map((row) => [
        name(row.backbone),
        `${row.exits} × ${row.metric}, ${row.variant}`,
        percent(row.share),
        percent(row.wallShare),
        percent(row.wallSharePerExit),
      ]),
    ),
    "",
  ];
}

/** Pictures that were timed; older results of the full preset do not say it. */
function timed({ batch, pictures = Math.min(2048, 128 * batch) }) {
  return pictures.toLocaleString("en");
}

/** The methods compared in one table: rows of the sound protocol by metric, rule and variant. */
function methods(e2cm, backbone) {
  const wanted = [
    ["sharedCovariance", "posterior", "moments", "shared covariance, second moments (default)"],
    ["sharedCovariance", "posterior", "moments int8", "the same, 8-bit weights"],
    ["sharedCovariance", "posterior", "pooled4x4", "shared covariance, pooled"],
    ["euclidean", "normalised", "full", "class means, normalised (paper)"],
    ["euclidean", "raw", "full", "class means, raw"],
    ["euclidean", "perSampleMaximum", "full", "class means, own maximum"],
    ["euclidean", "normalised", "pooled4x4", "class means, pooled"],
    ["euclidean", "normalised", "int8", "class means, 8-bit"],
  ];
  return wanted.map(([metric, rule, variant, title]) => ({
    title,
    rows: e2cm.rows.filter(
      (row) => row.backbone === backbone && row.metric === metric && row.rule === rule && row.variant === variant,
    ),
  }));
}

function ofMain(e2cm) {
  const plain = e2cm.backbones.at(-1);
  return { plain, rows: methods(e2cm, plain.backbone)[0].rows };
}

/** Pictures and thresholds are left out. */
export function keep({ examples, confusion, ...result }) {
  const rows = result.rows.filter(({ protocol }) => protocol === "sound").map(({ thresholds, shares, ...row }) => row);
  return { ...result, rows };
}
