// Puts measured numbers into README.md and docs/measured.md; none of them is typed by hand.
//   node scripts/measured.mjs RUN_FOLDER...   takes over the results of finished runs (docs/results/*.json) and writes both
//   node scripts/measured.mjs                 writes both from docs/results
//   node scripts/measured.mjs --check         fails when they do not say what docs/results says
// @ts-check
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./run.mjs";

const folder = join(root, "docs", "results");
const [first, ...others] = process.argv.slice(2);
if (first !== undefined && first !== "--check") for (const run of [first, ...others]) takeOver(run);

const results = Object.fromEntries(
  (existsSync(folder) ? readdirSync(folder) : []).map((name) => {
    const result = JSON.parse(readFileSync(join(folder, name), "utf8"));
    return [result.experiment, result];
  }),
);
const e2cm = results["e2cm-cifar10"];
const overhead = results["staged-overhead"];
const readme = join(root, "README.md");
const before = readFileSync(readme, "utf8");
const pages = [
  [
    readme,
    before.replace(
      /<!-- measured -->[\s\S]*?<!-- end of measured -->/,
      `<!-- measured -->\n${headline()}\n<!-- end of measured -->`,
    ),
  ],
  [join(root, "docs", "measured.md"), page()],
];
for (const [file, text] of pages) {
  if (first !== "--check") writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
    process.stderr.write(`${file} does not say what docs/results says: run node scripts/measured.mjs\n`);
    process.exitCode = 1;
  }
}

/** Keeps what the pages need, and enough to see where it comes from. */
function takeOver(run) {
  const result = JSON.parse(readFileSync(join(run, "result.json"), "utf8"));
  for (const name of ["examples", "confusion"]) delete result[name];
  if (result.experiment === "e2cm-cifar10") {
    result.rows = result.rows
      .filter(({ protocol }) => protocol === "sound")
      .map(({ thresholds, shares, ...row }) => row);
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${result.experiment}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

function headline() {
  if (e2cm === undefined) return "";
  const { rows, plain } = ofMain();
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
    `Wall clock when asked to lose at most ${points(wall[0].wantedLoss)}, real pictures, against one plain session, interleaved, medians:`,
    "",
    table(
      ["batch", ...wall.map(({ batch }) => String(batch))],
      [
        ["time", ...wall.map(({ wallFraction }) => times(wallFraction))],
        ["MACs", ...wall.map(({ macsFraction }) => times(macsFraction))],
      ],
    ),
    "",
    `Measured on ${machine(e2cm)}. More, and how: [docs/measured.md](docs/measured.md).`,
  ].join("\n");
}

function page() {
  const parts = [
    "# What was measured",
    "",
    "Written by `node scripts/measured.mjs` from `docs/results`, which are results of `bench run … --preset full`.",
    "",
  ];
  if (e2cm !== undefined) parts.push(...e2cmPage());
  if (overhead !== undefined) parts.push(...overheadPage());
  return `${parts.join("\n").trimEnd()}\n`;
}

function e2cmPage() {
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
        ["asked to lose at most", ...methods(backbone).map(({ title }) => title)],
        [0, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.05].map((loss) => [
          points(loss),
          ...methods(backbone).map(({ rows }) => {
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
    table(
      ["network", "batch", "MACs", "time", "plain ms", "in stages ms", "right (plain)", "rounds"],
      e2cm.wall.map((row) => [
        name(row.backbone),
        String(row.batch),
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

function overheadPage() {
  return [
    "## What executing in stages costs and saves",
    "",
    `Three stages with cheap exits against one plain session, interleaved. ${machine(overhead)}.`,
    "",
    table(
      ["network", "batch", "scenario", "MACs", "time", "plain ms", "in stages ms", "ms a cut", "rounds"],
      overhead.rows.map((row) => [
        name(row.backbone),
        String(row.batch),
        row.scenario,
        times(row.macsFraction),
        times(row.wallFraction),
        row.plainMs.toFixed(2),
        row.stagedMs.toFixed(2),
        row.msPerCut.toFixed(3),
        String(row.runs),
      ]),
    ),
    "",
  ];
}

/** The methods compared in one table: rows of the sound protocol by metric, rule and variant. */
function methods(backbone) {
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

function ofMain() {
  const plain = e2cm.backbones.at(-1);
  return { plain, rows: methods(plain.backbone)[0].rows };
}

function machine({ environment, seed }) {
  const { cpu, cores, node, onnxruntime, git } = environment;
  return `${cores} cores (${cpu}), Node ${node}, ONNX Runtime ${onnxruntime}, seed ${seed}, commit ${git?.sha?.slice(0, 12) ?? "unknown"}${git?.dirty ? " with changes" : ""}`;
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function name(backbone) {
  return backbone.replace(/^resnet(\d+)$/, "ResNet-$1");
}

function percent(value) {
  return `${(100 * value).toFixed(2)} %`;
}

function points(value) {
  return `${(100 * value).toFixed(1)} points`;
}

function signed(value) {
  return `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(100 * value).toFixed(2)}`;
}

function times(value) {
  return `${value.toFixed(3)} ×`;
}
