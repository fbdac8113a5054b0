// Puts measured numbers into README.md and docs/measured.md; none of them is typed by hand.
//   node scripts/measured.mjs RUN...          takes over the results of finished runs (docs/results/*.json) and writes both;
//                                             a run is a folder of bench, or what peers/train_cifar10.py printed
//   node scripts/measured.mjs                 writes both from docs/results
//   node scripts/measured.mjs --check         fails when they do not say what docs/results says
// @ts-check
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as e2cmCifar10 from "./measured/e2cm-cifar10.mjs";
import * as e2cmClustering from "./measured/e2cm-clustering.mjs";
import * as e2cmRivals from "./measured/e2cm-rivals.mjs";
import * as openWorld from "./measured/open-world.mjs";
import * as stagedOverhead from "./measured/staged-overhead.mjs";
import * as trainCifar10 from "./measured/train-cifar10.mjs";
import { root } from "./run.mjs";

/**
 * The experiments in the order of the page. `page(result, results)` gives the lines of an experiment's part;
 * `headline(result, results)`, where there is one, its lines of the README;
 * `keep(result)`, where there is one, what docs/results holds of a run's result.json.
 */
const EXPERIMENTS = {
  "e2cm-cifar10": e2cmCifar10,
  "e2cm-clustering": e2cmClustering,
  "e2cm-rivals": e2cmRivals,
  "open-world": openWorld,
  "staged-overhead": stagedOverhead,
  "train-cifar10": trainCifar10,
};

const folder = join(root, "docs", "results");
const [first, ...others] = process.argv.slice(2);
if (first !== undefined && first !== "--check") for (const run of [first, ...others]) takeOver(run);

const results = Object.fromEntries(
  (existsSync(folder) ? readdirSync(folder) : []).map((name) => [
    name.replace(/\.json$/, ""),
    JSON.parse(readFileSync(join(folder, name), "utf8")),
  ]),
);
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
  if (statSync(run).isFile()) return write(trainCifar10.peer(readFileSync(run, "utf8")), "train-cifar10-pytorch");
  const result = JSON.parse(readFileSync(join(run, "result.json"), "utf8"));
  const experiment = EXPERIMENTS[result.experiment];
  if (experiment === undefined) throw new Error(`${run}: no page shows results of ${result.experiment}`);
  const kept = "keep" in experiment ? experiment.keep(result) : result;
  write(kept, "nameOf" in experiment ? experiment.nameOf(result) : result.experiment);
}

function write(result, name) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

function headline() {
  const parts = Object.entries(EXPERIMENTS).flatMap(([name, experiment]) =>
    "headline" in experiment && results[name] !== undefined ? [experiment.headline(results[name], results)] : [],
  );
  return parts.join("\n\n");
}

function page() {
  const parts = [
    "# What was measured",
    "",
    "Written by `node scripts/measured.mjs` from `docs/results`, which are results of `bench run … --preset full`.",
    "",
    ...Object.entries(EXPERIMENTS).flatMap(([name, { page }]) =>
      results[name] === undefined ? [] : page(results[name], results),
    ),
  ];
  return `${parts.join("\n").trimEnd()}\n`;
}
