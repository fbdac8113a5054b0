import { claimsTable } from "../../measuring/claims.ts";
import { caption } from "../../report/chart.ts";
import { dataFiles } from "../../report/files.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, exact, large, percent, points } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { backboneName } from "../../report/series.ts";
import type { Kept, Summary } from "../experiment.ts";
import { oneEpochFigures, unlimitedFigure } from "./charts.ts";
import type { RivalData, RivalsResult } from "./schema.ts";
import { alike, atFraction, datasetName, methodsOf, passMethod, rivalSeries } from "./series.ts";
import * as tables from "./tables.ts";

/** Where the methods are compared in one sentence. */
const FRACTION = 0.25;

/** Its chapter of the report. */
export function report(result: RivalsResult): Report {
  const { datasets, rows, within, training, poster, wall, claims } = result;
  const some = (part: readonly unknown[]) => part.length > 0 && datasets.length > 0;
  const exits = tables.exitTable(result, datasets);
  return {
    headline: headline(result),
    sections: [
      {
        id: "one-epoch",
        title: "One pass against one epoch",
        about:
          "Every method may see the training pictures once. How much accuracy does it give for how much computation?",
        content: oneEpochFigures(result),
      },
      {
        id: "within",
        title: "What a small loss buys",
        about: "The cheapest setting that keeps to a loss against the plain network, on the pictures that chose it.",
        content: some(within) ? [tables.withinTable(result, datasets), caption(WITHIN)] : [],
      },
      {
        id: "effort",
        title: "What fitting takes",
        content: some(training) ? [tables.effortTable(result, datasets), caption(effortWords(result))] : [],
      },
      {
        id: "unlimited",
        title: "Several epochs: class distances as further inputs",
        about: "Trained exits after several epochs, alone and with the distances to the class means.",
        content: [unlimitedFigure(result)],
      },
      {
        id: "exits",
        title: "Exit by exit",
        about: "How right is each exit, if all pictures leave there?",
        content: [exits, exits && caption(EXITS)],
      },
      {
        id: "poster",
        title: "The poster's table",
        about: "Accuracy where little may be computed, after several epochs of training.",
        content: poster && rows.length > 0 ? [tables.posterTable(result), caption(posterWords(result, poster))] : [],
      },
      {
        id: "wall",
        title: "Is less computation less time?",
        about: "The networks really stop early, against the plain network in one session.",
        content: some(wall) ? [tables.wallTable(result, datasets), caption(wallWords(wall[0]!))] : [],
      },
      {
        id: "claims",
        title: "The paper, and what was measured",
        of: claims,
        content: () => [claimsTable(claims, (dataset) => datasetName(result, dataset))],
      },
    ],
    method: method(result),
    data: datasets.map(({ name }) => name),
    files: dataFiles(datasets.flatMap(({ files }) => files)),
  };
}

const WITHIN =
  "Multiply-accumulates as a fraction of the plain network's, and the accuracy on new pictures. A dash: with no seed.";

const EXITS =
  "In brackets the multiply-accumulates of a picture that leaves there, all exits before included. The last exit is the network itself. Means over seeds.";

function effortWords(result: RivalsResult): string {
  const plain = result.memory
    .filter(({ method }) => method === "plain")
    .map(({ dataset, bytes }) => `${tables.mebibytes(bytes)} (${datasetName(result, dataset)})`);
  const beside =
    plain.length === 0 ? "" : `; one that only answers some with the plain network takes ${plain.join(", ")}`;
  return `Time: from the plain network to exits that can be used, compilation of the training step included; means over seeds, each measured once in the course of the run. Over several epochs all kinds of exits are trained in the same passes, and the time is that of all. Gates: with the exits they are learned on, whose memory is given. Memory: the largest resident set of a process of its own that fits the method on 1,024 pictures${beside}.`;
}

function posterWords({ rows }: RivalsResult, { paper }: NonNullable<RivalsResult["poster"]>): string {
  const absent = paper.filter(({ method }) => !methodsOf(rows, "unlimited").includes(method));
  const names = absent.map(({ method }) => rivalSeries(method).name).join(", ");
  return `Mean cost allowed on calibration pictures, as a share of the plain network's; a dash: the method cannot be so cheap. Ours: exits alone, trained on the frozen network (SDN's authors: 25 epochs). The paper's network is ResNet-152, trained without a limit.${names === "" ? "" : ` Not attempted here with an unlimited budget: ${names}.`}`;
}

function wallWords({ batch, pictures, runs }: RivalsResult["wall"][number]): string {
  return `Batch ${batch}, ${count(pictures!)} pictures of the second half of the test pictures, thresholds from the first half, one seed. “Loss not kept”: no setting keeps it on calibration pictures, and the most accurate one was timed. Every batch goes through the plain session and through the stages in turn; medians over ${runs} rounds. All of a row is of the same pictures; ±: 95 % interval of the points lost, and with “≤” the widest that the two accuracies allow, where it was not kept which pictures they are of.`;
}

/** What one pass gives beside one epoch, on the first data set. */
function headline({ datasets, rows, training }: RivalsResult): Headline {
  const [first] = datasets;
  const { dataset = "" } = first ?? {};
  const budget = "one epoch";
  const at = (method: string) => atFraction(rows, { dataset, method, budget }, FRACTION);
  const form = passMethod(rows.filter((row) => row.dataset === dataset));
  const [pass, sdn] = [at(form), at("sdn")];
  if (first === undefined || pass === null || sdn === null) {
    return { sentence: "E²CM against trained exits: nothing to compare was measured in this run." };
  }
  const lead = pass.mean - sdn.mean;
  const [passTime, sdnTime] = [form, "sdn"].map((method) => alike(training, { dataset, method, budget })[0]?.seconds);
  const { name } = rivalSeries("sdn");
  const fitting =
    passTime == null || sdnTime == null
      ? ""
      : `. Fitting takes ${count(passTime)} seconds, an epoch of ${name} ${count(sdnTime)}`;
  return {
    sentence: `With a quarter of the multiply-accumulates, one pass of E²CM answers ${percent(pass.mean, 1)} of the ${first.name} pictures right, one epoch of ${name} ${percent(sdn.mean, 1)}.`,
    detail: `${backboneName(first.network)}, ${count(first.train)} training pictures. E²CM, ${form === "e2cm" ? "in its default form" : "with exits at the same places"}, is ${lead >= 0 ? `${points(lead)} ahead` : `${points(-lead)} behind`} of ${name}${fitting}.`,
    facts: ["e2cm", "e2cm-places", "e2cm-euclidean", "sdn", "bwds", "sdn-joint", "branchynet"].flatMap((method) => {
      const found = at(method);
      const title = `${rivalSeries(method).name}, ≤ 25 % of the MACs`;
      return found === null ? [] : [{ value: percent(found.mean, 1), name: title }];
    }),
  };
}

/** ", a part of it", where a data set is not the official one. */
function partWords({ complete, dataset }: RivalData): string {
  if (complete) return "";
  return dataset === "cifar100" ? ", a split of its own, not the official one" : ", a part of it";
}

function method({ datasets, settings }: RivalsResult): Report["method"] {
  const about = datasets.map((data) => {
    const { name, train, test, network, macs, accuracy, trained } = data;
    const origin =
      trained === null ? "pretrained" : `trained here for ${trained.epochs} epochs in ${count(trained.seconds)} s`;
    const words = `${count(train)} training and ${count(test)} test pictures${partWords(data)}. ${backboneName(network)}, ${origin}: ${large(macs)} multiply-accumulates a picture, ${exact(accuracy)} right.`;
    return [name, words] as const;
  });
  return {
    ...Object.fromEntries(about),
    "E²CM":
      "One forward pass over the training pictures as they are. “Class means” is the paper's method: full features after every block, Euclidean distances, each divided by its root mean square over the training pictures. “Shared covariance” is the package's default, three exits; “at SDN's places” has its exits where SDN has them.",
    SDN: "Shallow-Deep Networks: exits of mixed pooling and one linear layer at (at most) 15, 30, 45, 60, 75 and 90 % of the compute, one epoch of Adam on the frozen network; where no exit is sure the most confident answers. “Joint”: backbone and exits together, SGD at the published learning rate, the weight of each exit rising from 0.01 to its share of the cost.",
    "Gates (BWDS)":
      "SDN's exits, left by learned gates instead of thresholds (reconstructed from the abstract of Bolukbasi et al., 2017): logistic regressions that price cost against errors, for 32 prices, learned on the pictures that choose among them; the network's own last exit answers what no gate lets go.",
    BranchyNet:
      "Three exits with a convolution each, trained with the backbone, weighted by their share of the cost; leaves where the entropy is low.",
    "E²CM + SDN": `The same exits as SDN, to whose linear layer the normalised distances to the class means at that place are added, standardised over the classes; for ${settings === undefined ? "several" : settings.epochs} epochs on the frozen network, in the same passes as SDN's exits beside it. “Shared covariance”: distances by the package's default metric (log posteriors) in place of the paper's. The paper says “unlimited budget”, and SDN's authors train exits for 25 epochs.`,
    Thresholds:
      "Chosen on one half of the test pictures and reported on the other, both ways round. All exits of a method ask for one probability of agreeing with the network's last exit, for every method alike.",
    Seeds: `${settings === undefined ? "Not recorded." : `${settings.seeds} of the exits’ training.`} They decide initial weights and order of pictures. The plain network and the halves are the same for all; class means have nothing random.`,
    Cost: "Multiply-accumulates of one picture: the backbone up to the exit it leaves at, and every exit on the way. 100 % is the plain network without exits.",
  };
}

/** What docs/results holds: the frontier at the costs shown, the timed settings, and the exits that a table shows. */
export function keep({ rows, perExit, ...result }: RivalsResult): Kept {
  const many = new Set(perExit.filter(({ exit }) => exit >= tables.MOST_EXITS).map(({ method }) => method));
  return {
    value: {
      ...result,
      rows: rows.filter(({ askedFraction }) => askedFraction === null || tables.SHOWN.includes(askedFraction)),
      perExit: perExit.filter(({ method }) => !many.has(method)),
    },
  };
}

/** Its part of the README: the first data set, and who is how accurate for how much. */
export function readme(result: RivalsResult): readonly Block[] {
  const [{ dataset, name, network, accuracy }] = result.datasets as readonly [RivalData];
  return [
    `One pass of class means against exits that are trained, ${backboneName(network)} on ${name} (plain: ${exact(accuracy)}); right where so much of its MACs was allowed, mean over ${result.settings!.seeds} seeds:`,
    tables.readmeTable(result, dataset),
    "The exits of the last three lines were trained in the same passes; their times are of all three.",
  ];
}

/** Its part of docs/measured.md. */
export function measured(result: RivalsResult): readonly Block[] {
  const { datasets, claims } = result;
  const { epochs, seeds } = result.settings!;
  return [
    "## One pass of class means against trained exits",
    `One epoch: a forward pass for E²CM, an epoch of training for the others. Unlimited: ${epochs} epochs of the exits alone, on the frozen network (SDN's authors train them for 25; joint training for many epochs was not attempted); exits with and without class distances learn in the same passes over the same pictures. Thresholds from one half of the test pictures, reported on the other half, both ways. ± is the standard deviation over ${seeds} seeds of the exits' training, 1 to ${seeds}; the plain network and the halves are the same for all, and class means have nothing random. ${machine(result)}.`,
    ...datasets.flatMap((data) => datasetPart(result, data)),
    "### The paper, and what was measured",
    claimsTable(claims, (dataset) => datasetName(result, dataset)),
  ];
}

function datasetPart(result: RivalsResult, data: RivalData): readonly Block[] {
  const { name, train, test, network, macs, accuracy, trained } = data;
  const origin = trained === null ? "pretrained" : `trained here for ${trained.epochs} epochs`;
  const wall = result.wall.find((row) => row.dataset === data.dataset);
  return [
    `### ${name}: ${backboneName(network)}, ${exact(accuracy)} right with ${(macs / 1e6).toFixed(1)} million MACs`,
    `${count(train)} training and ${count(test)} test pictures${partWords(data)}; the network is ${origin}. Accuracy where a mean cost of at most so much of the plain network's, exits included, was allowed on the pictures that chose the thresholds:`,
    tables.frontierTable(result, [data]),
    `How right each exit is if all pictures leave there. ${EXITS}`,
    tables.exitTable(result, [data]) ?? "",
    effortWords(result),
    tables.effortTable(result, [data]),
    `The cheapest setting that keeps to a loss on the pictures that chose it. ${WITHIN}`,
    tables.withinTable(result, [data]),
    ...(wall === undefined ? [] : [`Wall clock. ${wallWords(wall)}`, tables.wallTable(result, [data])]),
  ];
}

/** What the terminal shows at the end. */
export function summary(result: RivalsResult): Summary {
  const { datasets, diverged } = result;
  return {
    table: [
      tables.frontierTable(result, datasets),
      tables.wallTable(result, datasets),
      tables.effortTable(result, datasets),
    ],
    notes: [
      "Thresholds from one half of the test pictures, accuracy on the other half, both ways; timed on the second half only, batch 64.",
      ...diverged.map(
        ({ dataset, method, seed, step }) =>
          `${datasetName(result, dataset)}: ${method} with seed ${seed} diverged in step ${step}.`,
      ),
      "MACs (exits included) and time are fractions of the plain network's.",
    ],
  };
}
