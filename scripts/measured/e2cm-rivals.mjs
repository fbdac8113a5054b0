// E²CM against trained exits.
// @ts-check
import { machine, name, percent, points, table, times } from "./words.mjs";

/** Largest mean costs that the page shows, as fractions of the plain network's. */
const SHOWN = [0.15, 0.2, 0.25, 0.3, 0.5, 0.75, 1];

const METHODS = {
  e2cm: "E²CM, shared covariance",
  "e2cm-euclidean": "E²CM, class means (the paper's)",
  sdn: "SDN, exits alone",
  bwds: "gates on SDN's exits (BWDS)",
  "sdn-joint": "SDN, joint",
  branchynet: "BranchyNet",
  "e2cm-sdn": "E²CM + SDN",
};

/** What docs/results holds: the frontier at the costs shown, and the timed settings. */
export function keep({ rows, ...result }) {
  return {
    ...result,
    rows: rows.filter(({ askedFraction }) => askedFraction === null || SHOWN.includes(askedFraction)),
  };
}

/** Its part of docs/measured.md. */
export function page(result) {
  const { settings, datasets, claims } = result;
  return [
    "## One pass of class means against trained exits",
    "",
    `One epoch: a forward pass for E²CM, an epoch of training for the others. Unlimited: ${settings.epochs} epochs on the frozen network. Thresholds from one half of the test pictures, reported on the other half, both ways. ${machine(result)}.`,
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
    `${train.toLocaleString("en")} training and ${test.toLocaleString("en")} test pictures${split}; the network is ${origin}. Accuracy at a mean cost of at most so much of the plain network's, exits included:`,
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
            return at < 0 ? "" : percent(accuracies[at]);
          }),
        ]),
      ],
    ),
    "",
    "An empty cell: the method cannot be so cheap. ± is the standard deviation over seeds; E²CM has none.",
    "",
    table(
      [
        "method",
        "budget",
        "fitting",
        "peak memory",
        "MACs to lose at most 1 point",
        "timed: MACs",
        "time, batch 64",
        "right (plain)",
      ],
      kinds.map(([method, budget]) => effort(result, dataset, method, budget)),
    ),
    "",
  ];
}

function effort({ training, memory, within, wall }, dataset, method, budget) {
  const of = (list) => list.filter((row) => row.dataset === dataset && row.method === method && row.budget === budget);
  const seconds = of(training).flatMap((row) => row.seconds ?? []);
  const peak = memory.find((row) => row.dataset === dataset && row.method === (method === "bwds" ? "sdn" : method));
  const kept = of(within).filter(({ wantedLoss }) => wantedLoss === 0.01);
  const costs = kept.flatMap(({ macsFraction }) => macsFraction ?? []);
  const [timed] = of(wall);
  return [
    METHODS[method] ?? method,
    budget,
    seconds.length === 0 ? "" : `${mean(seconds).toFixed(0)} s`,
    peak === undefined ? "" : `${Math.round(peak.bytes / 2 ** 20)} MiB`,
    costs.length === 0 || costs.length < kept.length ? "not within" : times(mean(costs)),
    timed === undefined ? "" : `${times(timed.macsFraction)}${timed.within ? "" : " (loses more)"}`,
    timed === undefined ? "" : times(timed.wallFraction),
    timed === undefined ? "" : `${percent(timed.accuracy)} (${percent(timed.fullAccuracy)})`,
  ];
}

function cell(own, method, budget, share) {
  const found = own.filter((row) => row.method === method && row.budget === budget && row.askedFraction === share);
  if (found.length === 0) return "";
  const values = found.map(({ accuracy }) => accuracy);
  if (values.length === 1) return percent(values[0]);
  const middle = mean(values);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
  return `${percent(middle)} ± ${points(deviation)}`;
}

function titleOf(datasets, dataset) {
  return (
    datasets.find((one) => one.dataset === dataset)?.name ?? { kmnist: "KMNIST", mnist: "MNIST" }[dataset] ?? dataset
  );
}

function mean(values) {
  return values.reduce((sum, value) => sum + value / values.length, 0);
}
