// E²CM against trained exits.
// @ts-check
import { machine, name, percent, points, table, times } from "./words.mjs";

/** Largest mean costs that the page shows, as fractions of the plain network's. */
const SHOWN = [0.15, 0.2, 0.25, 0.3, 0.5, 0.75, 1];

/** The costs of the README's lines. */
const HEADLINE = [0.25, 0.5, 0.75];

/** Exits of a table at most: class means after every block have too many, and a page of their own. */
const MOST_EXITS = 7;

const METHODS = {
  e2cm: "E²CM, shared covariance",
  "e2cm-places": "E²CM, shared covariance, exits at SDN's places",
  "e2cm-euclidean": "E²CM, class means (the paper's)",
  sdn: "SDN, exits alone",
  bwds: "gates on SDN's exits (BWDS, reconstructed)",
  "sdn-joint": "SDN, joint",
  branchynet: "BranchyNet",
  "e2cm-sdn": "E²CM + SDN",
  "e2cm-sdn-shared": "E²CM + SDN, shared covariance",
};

/** What docs/results holds: the frontier at the costs shown, the timed settings, and the exits that a table shows. */
export function keep({ rows, perExit, ...result }) {
  const many = new Set(perExit.filter(({ exit }) => exit >= MOST_EXITS).map(({ method }) => method));
  return {
    ...result,
    rows: rows.filter(({ askedFraction }) => askedFraction === null || SHOWN.includes(askedFraction)),
    perExit: perExit.filter(({ method }) => !many.has(method)),
  };
}

/** The lines of the README: the first data set, and who is how accurate for how much. */
export function headline({ datasets, rows, training, settings }) {
  const [{ dataset, name: title, network, accuracy }] = datasets;
  const own = rows.filter((row) => row.dataset === dataset && row.askedFraction !== null);
  const lines = [
    ["e2cm", "one epoch", "class means with a shared covariance, one pass"],
    ["e2cm-places", "one epoch", "the same, exits at the places of the following"],
    ["sdn", "one epoch", "Shallow-Deep exits, one epoch"],
    ["branchynet", "one epoch", "BranchyNet, one epoch"],
    ["sdn", "unlimited", `Shallow-Deep exits, ${settings.epochs} epochs`],
    ["e2cm-sdn", "unlimited", `the same with class distances (E²CM + SDN), ${settings.epochs} epochs`],
    ["e2cm-sdn-shared", "unlimited", `the same with distances by a shared covariance, ${settings.epochs} epochs`],
  ];
  const seconds = (method, budget) =>
    mean(
      training.flatMap((row) =>
        row.dataset === dataset && row.method === method && row.budget === budget ? (row.seconds ?? []) : [],
      ),
    );
  return [
    `One pass of class means against exits that are trained, ${name(network)} on ${title} (plain: ${percent(accuracy)}); right where so much of its MACs was allowed, mean over ${settings.seeds} seeds:`,
    "",
    table(
      ["", ...HEADLINE.map((share) => `≤ ${share}`), "fitting"],
      lines.map(([method, budget, words]) => [
        words,
        ...HEADLINE.map((share) => cell(own, method, budget, share)),
        `${seconds(method, budget).toFixed(0)} s`,
      ]),
    ),
    "",
    `The exits of the last three lines were trained in the same passes; their times are of all three.`,
  ].join("\n");
}

/** Its part of docs/measured.md. */
export function page(result) {
  const { settings, datasets, claims } = result;
  return [
    "## One pass of class means against trained exits",
    "",
    `One epoch: a forward pass for E²CM, an epoch of training for the others. Unlimited: ${settings.epochs} epochs of the exits alone, on the frozen network (SDN's authors train them for 25; joint training for many epochs was not attempted); exits with and without class distances learn in the same passes over the same pictures. Thresholds from one half of the test pictures, reported on the other half, both ways. ± is the standard deviation over ${settings.seeds} seeds of the exits' training, 1 to ${settings.seeds}; the plain network and the halves are the same for all, and class means have nothing random. ${machine(result)}.`,
    "",
    ...datasets.flatMap((dataset) => datasetPart(result, dataset)),
    "### The paper, and what was measured",
    "",
    table(
      ["data", "the paper says", "measured", "status"],
      claims.map(({ dataset, paper, measured, status }) => [titleOf(datasets, dataset), paper, measured, status]),
    ),
    "",
  ];
}

function datasetPart(result, { dataset, name: title, complete, train, test, network, macs, accuracy, trained }) {
  const { rows, poster } = result;
  const own = rows.filter((row) => row.dataset === dataset && row.askedFraction !== null);
  const kinds = [...new Set(own.map(({ method, budget }) => `${method}\n${budget}`))].map((kind) => kind.split("\n"));
  const split = complete
    ? ""
    : dataset === "cifar100"
      ? ", a split of its own, not the official one"
      : ", a part of it";
  const origin = trained === null ? "pretrained" : `trained here for ${trained.epochs} epochs`;
  const theirs = dataset === "cifar10" ? poster.paper : [];
  return [
    `### ${title}: ${name(network)}, ${percent(accuracy)} right with ${(macs / 1e6).toFixed(1)} million MACs`,
    "",
    `${train.toLocaleString("en")} training and ${test.toLocaleString("en")} test pictures${split}; the network is ${origin}. Accuracy where a mean cost of at most so much of the plain network's, exits included, was allowed on the pictures that chose the thresholds:`,
    "",
    table(
      ["method", "budget", ...SHOWN.map((share) => `≤ ${share}`)],
      [
        ...kinds.map(([method, budget]) => [
          METHODS[method] ?? method,
          budget,
          ...SHOWN.map((share) => cell(own, method, budget, share)),
        ]),
        ...theirs.map(({ method, accuracies }) => [
          METHODS[method] ?? method,
          "unlimited, the paper (ResNet-152)",
          ...SHOWN.map((share) => {
            const at = poster.fractions.indexOf(share);
            return at < 0 ? "not given" : percent(accuracies[at]);
          }),
        ]),
      ],
    ),
    "",
    ...exitByExit(result, dataset),
    "Fitting: mean over seeds, compilation included, each measured once in the course of the run; of an unlimited budget the time of all its exits, which were trained together. Peak memory: the largest resident set of a process of its own that fits the method on 1,024 pictures; gates are given with the exits they are learned on.",
    "",
    table(
      ["method", "budget", "fitting", "peak memory", "asked to lose at most 1 point: MACs, right", "seeds"],
      [...kinds, ...onlyDiverged(result, dataset, kinds)].map(([method, budget]) =>
        effort(result, dataset, method, budget),
      ),
    ),
    "",
    ...timed(result, dataset),
  ];
}

/** How right every exit is, if all pictures leave there. */
function exitByExit({ perExit }, dataset) {
  const own = perExit.filter((row) => row.dataset === dataset);
  const kinds = [...new Set(own.map(({ method, budget }) => `${method}\n${budget}`))].map((kind) => kind.split("\n"));
  const body = kinds.flatMap(([method, budget]) => {
    const of = own.filter((row) => row.method === method && row.budget === budget);
    const exits = [...new Set(of.map(({ exit }) => exit))];
    if (exits.length > MOST_EXITS) return [];
    const cells = exits.map((exit) => {
      const at = of.filter((row) => row.exit === exit);
      return `${percent(mean(at.map(({ accuracy }) => accuracy)))} (${times(at[0].macsFraction)})`;
    });
    return [[METHODS[method] ?? method, budget, ...cells, ...Array(MOST_EXITS - cells.length).fill("")]];
  });
  if (body.length === 0) return [];
  return [
    "How right each exit is if all pictures leave there, and the MACs of one that does, the exits before included; the last exit is the network itself; means over seeds:",
    "",
    table(["method", "budget", ...Array.from({ length: MOST_EXITS }, (_, exit) => `exit ${exit + 1}`)], body),
    "",
  ];
}

/** Methods of which no seed gave exits. */
function onlyDiverged({ diverged }, dataset, kinds) {
  const known = new Set(kinds.map((kind) => kind.join("\n")));
  const lost = diverged.filter((row) => row.dataset === dataset).map(({ method, budget }) => `${method}\n${budget}`);
  return [...new Set(lost)].filter((kind) => !known.has(kind)).map((kind) => kind.split("\n"));
}

function effort({ training, memory, within, diverged }, dataset, method, budget) {
  const of = (list) => list.filter((row) => row.dataset === dataset && row.method === method && row.budget === budget);
  const seconds = of(training).flatMap((row) => row.seconds ?? []);
  const peak = memory.find((row) => row.dataset === dataset && row.method === (method === "bwds" ? "sdn" : method));
  const kept = of(within).filter(({ wantedLoss }) => wantedLoss === 0.01);
  const [costs, right] = ["macsFraction", "accuracy"].map((key) => kept.flatMap((row) => row[key] ?? []));
  const lost = of(diverged);
  const seeds = of(training).flatMap(({ seed }) => seed ?? []);
  return [
    METHODS[method] ?? method,
    budget,
    seconds.length === 0 ? "unknown" : `${mean(seconds).toFixed(0)} s`,
    peak === undefined ? "unknown" : `${Math.round(peak.bytes / 2 ** 20)} MiB`,
    costs.length === 0 || costs.length < kept.length
      ? `not kept${costs.length === 0 ? "" : ` with ${kept.length - costs.length} of ${kept.length} seeds`}`
      : `${times(mean(costs))}, ${spreadOf(right)}`,
    `${seeds.length === 0 ? "none" : seeds.length}${lost.length === 0 ? "" : `; diverged: ${lost.map(({ seed, step }) => `seed ${seed} in step ${step}`).join(", ")}`}`,
  ];
}

/** Wall clock at both settings. */
function timed({ wall, settings }, dataset) {
  const own = wall.filter((row) => row.dataset === dataset);
  if (own.length === 0) return [];
  const { batch, pictures, runs } = own[0];
  const cells = (row) =>
    row === undefined
      ? ["costs more", "", ""]
      : [
          times(row.macsFraction),
          times(row.wallFraction),
          `${percent(row.accuracy)}${row.within ? "" : " (loss not kept)"}`,
        ];
  const kinds = [...new Set(own.map(({ method, budget }) => `${method}\n${budget}`))].map((kind) => kind.split("\n"));
  return [
    `Wall clock, batch ${batch}, in stages against one plain session, interleaved, medians over ${runs} rounds; ${pictures.toLocaleString("en")} pictures of the second half of the test pictures (the plain network is right on ${percent(own[0].fullAccuracy)} of them), thresholds from the first half, one seed:`,
    "",
    table(
      [
        "method",
        "budget",
        `asked to lose ≤ ${points(settings.timedLoss)}: MACs`,
        "time",
        "right",
        `allowed ${settings.timedFraction} of the MACs: MACs`,
        "time",
        "right",
      ],
      kinds.map(([method, budget]) => {
        const at = (asked) => own.find((row) => row.method === method && row.budget === budget && row.asked === asked);
        return [METHODS[method] ?? method, budget, ...cells(at("loss")), ...cells(at("cost"))];
      }),
    ),
    "",
  ];
}

function cell(own, method, budget, share) {
  const found = own.filter((row) => row.method === method && row.budget === budget && row.askedFraction === share);
  return found.length === 0 ? "costs more" : spreadOf(found.map(({ accuracy }) => accuracy));
}

function spreadOf(values) {
  const middle = mean(values);
  if (values.length === 1) return percent(middle);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
  return `${percent(middle)} ± ${(100 * deviation).toFixed(2)}`;
}

function titleOf(datasets, dataset) {
  return (
    datasets.find((one) => one.dataset === dataset)?.name ?? { kmnist: "KMNIST", mnist: "MNIST" }[dataset] ?? dataset
  );
}

function mean(values) {
  return values.reduce((sum, value) => sum + value / values.length, 0);
}
