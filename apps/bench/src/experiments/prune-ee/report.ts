import { claimsTable } from "../../measuring/claims.ts";
import { spread } from "../../measuring/spread.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, exact, milliseconds, percent, points, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { backboneName, distinct } from "../../report/series.ts";
import { type Column, type Table, tableOf } from "../../report/table.ts";
import type { Kept, Results, Summary } from "../experiment.ts";
import { curvesFigure, layersFigure } from "./charts.ts";
import { meanOver, ORDERS } from "./orders.ts";
import { type ChannelRow, type ExitRow, type Order, type PruneResult, schema } from "./schema.ts";

/** Its chapter of the report. */
export function report(result: PruneResult): Report {
  const { rows, curves, layers, channels, claims } = result;
  return {
    headline: headline(result),
    sections: [
      {
        id: "pruning-exits",
        title: "Every exit before and after",
        about:
          "Right answers if all pictures left there, and what an exit costs when products with zeros are left out.",
        content: rows.length === 0 ? [] : [exitsTable(result)],
      },
      {
        id: "pruning-curves",
        title: "Accuracy against computation, pruned",
        about:
          "A picture leaves at the first exit that is sure enough. Zeros are counted as saved here; a stock runtime multiplies by them.",
        content: curves.length === 0 ? [] : [curvesFigure(curves)],
      },
      {
        id: "pruning-layers",
        title: "Where the zeros are",
        about: "All weights are ranked in one list, so layers lose what matters least to the network.",
        content: [layersFigure(layers)],
      },
      {
        id: "pruning-channels",
        title: "Whole channels, in time",
        about:
          `Zeros save no time; missing channels do. Beside the network itself, and the smaller plain network that somebody might take instead. ${barSentence(channels)}`.trim(),
        content: channels.length === 0 ? [] : [channelsTable(result)],
      },
      {
        id: "pruning-times",
        title: "What a width costs on this machine",
        about:
          "A 3×3 convolution at 16×16, as many channels in as out: widths that are no whole block take as long as the next that is, or longer.",
        content: result.widths.length === 0 ? [] : [widthsTable(result), layerTimesTable(result)],
      },
      {
        id: "pruning-claims",
        title: "The paper and this run",
        content: claims.length === 0 ? [] : [claimsTable(claims)],
      },
    ],
    method: [
      ["Pruning", setup(result)],
      [
        "Orders",
        "Together: all weights in one list, all fine-tuned. Backbone first: the network without exits, then exits that have learned nothing yet on the frozen backbone. Exits first: trained exits on the frozen backbone, then the backbone with them.",
      ],
      [
        "Computation",
        "Multiply-accumulates of the dense network without exits are 1. Products with zero weights are left out; no stock runtime does that.",
      ],
      [
        "Channels",
        `The least important channels by group norm, in whole blocks of the processor's own, then fine-tuned (${channelSetup(result)}); a share of every layer's channels, or where a table of this machine's times for each layer and width says that a wanted share of the time is cheapest to save. Times: a batch of 64, all networks in turn, median of the ratios.`,
      ],
    ],
  };
}

function setup({ network, pictures, rounds, fraction, epochs, rows, leftOut }: PruneResult): string {
  if (rows.length === 0) return "The orders were not measured: there was no time for them.";
  const seeds = distinct(rows.map(({ seed }) => seed)).length;
  return `${backboneName(network)} with six Shallow-Deep exits; ${rounds} rounds, each ${percent(fraction)} of what is left, then ${epochs} ${epochs === 1 ? "epoch" : "epochs"} of ${count(pictures)} training pictures (SGD, 0.01, momentum 0.9); ${seeds} ${seeds === 1 ? "seed" : "seeds"}${leftOut > 0 ? ` (${leftOut} more were left out for want of time)` : ""}.`;
}

/** How long networks were fine-tuned after channels went. */
function channelSetup({ channelEpochs, pictures }: PruneResult): string {
  return `${channelEpochs} ${channelEpochs === 1 ? "epoch" : "epochs"} of ${count(pictures)} training pictures`;
}

/** "6.0 points above". */
function comparedWith(difference: number): string {
  return `${points(Math.abs(difference))} ${difference >= 0 ? "above" : "below"}`;
}

function headline(result: PruneResult): Headline {
  const { rows, network } = result;
  const last = (order: Order) => {
    const own = rows.filter((row) => row.order === order && row.exit === rows.at(-1)?.exit);
    return own.length === 0 ? undefined : meanOver(own, "accuracy");
  };
  const [dense, together, sequential] = [last("dense"), last("together"), last("sequential")];
  if (dense === undefined || together === undefined || sequential === undefined) {
    const nothing = "Pruning early-exit networks: nothing to compare was measured in this run.";
    return { sentence: barSentence(result.channels) || nothing };
  }
  const early = (order: Order) => {
    const own = rows.filter((row) => row.order === order && row.exit !== rows.at(-1)!.exit);
    return meanOver(own, "accuracy");
  };
  const sparsity = Math.max(...rows.map((row) => row.sparsity));
  const better = early("together") >= early("sequential") ? "together" : "backbone first";
  const third = last("exitsFirst");
  const exitsFirst =
    third === undefined
      ? ""
      : `Exits first, which the paper did not try: ${points(dense - third)} lost at the last exit, at the early ones ${comparedWith(early("exitsFirst") - Math.max(early("together"), early("sequential")))} the better of the two. `;
  return {
    sentence: `With ${percent(sparsity)} of its weights at zero, ${backboneName(network)} loses ${points(dense - together)} at its last exit when backbone and exits are pruned together, ${points(dense - sequential)} when the backbone goes first; at the early exits ${better} is better by ${points(Math.abs(early("together") - early("sequential")))}.`,
    detail: `${exitsFirst}${setup(result)}`,
    facts: [
      { value: percent(sparsity), name: "of the weights are zero" },
      { value: percent(together, 1), name: `right at the last exit, dense ${percent(dense, 1)}` },
      {
        value: percent(early("together"), 1),
        name: `mean of the early exits; backbone first ${percent(early("sequential"), 1)}`,
      },
    ],
  };
}

/** Accuracy of every exit by order. */
function exitsTable({ rows }: PruneResult): Table {
  const orders = distinct(rows.map(({ order }) => order));
  const at = (exit: string, order: Order) => rows.filter((row) => row.exit === exit && row.order === order);
  const columns = orders.flatMap((order): Column<string>[] => [
    [ORDERS[order].name, (exit) => withSpread(at(exit, order))],
    [`MACs, ${ORDERS[order].name}`, (exit) => meanOver(at(exit, order), "macsFraction"), times],
  ]);
  return tableOf(distinct(rows.map(({ exit }) => exit)), [
    ["all leave at", (exit, at) => exitName(exit, at)],
    ...columns,
  ]);
}

function exitName(exit: string, at: number): string {
  return exit === "full" ? "last" : `exit ${at + 1}`;
}

function withSpread(rows: readonly ExitRow[]): string {
  const { mean, deviation } = spread(rows.map(({ accuracy }) => accuracy));
  return `${exact(mean)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 2)}`}`;
}

/** Channels removed, beside plain networks; means over seeds. */
function channelsTable({ channels }: PruneResult): Table {
  const names = distinct(channels.map(({ network }) => network));
  const of = (network: string, key: "accuracy" | "macsFraction" | "wallFraction") =>
    meanOver(
      channels.filter((row) => row.network === network),
      key,
    );
  return tableOf(names, [
    [
      "network",
      (network) =>
        network
          .replace(/^(\S+) for (\S+)$/, (_, name, share) => `${backboneName(name)}, for ${share} of its layers' time`)
          .replace(/^(resnet\d+) (\S+)$/, (_, name, keep) => `${backboneName(name)}, ${keep} of its channels kept`)
          .replace(/^resnet\d+$/, backboneName),
    ],
    ["right", (network) => of(network, "accuracy"), exact],
    ["MACs", (network) => of(network, "macsFraction"), times],
    ["time", (network) => of(network, "wallFraction"), times],
  ]);
}

/** Time beside computation for every width. */
function widthsTable({ widths }: PruneResult): Table {
  return tableOf(widths, [
    ["channels", "width"],
    ["MACs", "macsFraction", times],
    ["time", "wallFraction", times],
    ["time, 8 bits", "wallFraction8", times],
  ]);
}

/** The table by which channels were chosen: each layer at its widest. */
function layerTimesTable({ layerTimes }: PruneResult): Table {
  const widest = distinct(layerTimes.map(({ place }) => place)).map((place) =>
    layerTimes
      .filter((row) => row.place === place)
      .reduce((most, row) => (row.in * row.out >= most.in * most.out ? row : most)),
  );
  return tableOf(widest, [
    ["layer", "place"],
    ["from", "in"],
    ["to", "out"],
    ["time", "milliseconds", milliseconds],
    ["time, 8 bits", "milliseconds8", milliseconds],
  ]);
}

/**
 * Whether pruning pays: every pruned network beside the best plain one that takes no more time. Empty where there is none to compare.
 */
export function barSentence(channels: readonly ChannelRow[]): string {
  const names = distinct(channels.map(({ network }) => network));
  const entries = names.map((network) => {
    const own = channels.filter((row) => row.network === network);
    const isPruned = own[0]!.keep < 1;
    return { network, isPruned, accuracy: meanOver(own, "accuracy"), time: meanOver(own, "wallFraction") };
  });
  const compared = entries.flatMap((pruned) => {
    const plain = entries.filter(({ isPruned, time }) => !isPruned && time <= pruned.time);
    if (!pruned.isPruned || plain.length === 0) return [];
    const best = plain.reduce((most, one) => (one.accuracy > most.accuracy ? one : most));
    return [{ pruned, best, ahead: pruned.accuracy - best.accuracy }];
  });
  if (compared.length === 0) return "";
  const [most, ...others] = compared.toSorted((a, b) => b.ahead - a.ahead);
  const { pruned, best, ahead } = most!;
  const beside = `${percent(pruned.accuracy, 1)} at ${times(pruned.time)} of the time, ${backboneName(best.network)} ${percent(best.accuracy, 1)} at ${times(best.time)}`;
  return ahead > 0
    ? `Pruning pays: ${beside}.`
    : `A smaller network from the start is the better choice: ${others.length > 0 ? "the best of the pruned ones is right in" : "the pruned one is right in"} ${beside}; ${points(-ahead)} better.`;
}

/** Whose orders stand first on the page; other networks follow. */
const FIRST = "resnet20";

/** What docs/results holds: a result for each network. */
export function keep(result: PruneResult): Kept {
  return { name: result.network === FIRST ? "prune-ee" : `prune-ee-${result.network}`, value: result };
}

/** Its part of docs/measured.md. */
export function measured(result: PruneResult, results: Results): readonly Block[] {
  const others = [...results].filter(([name]) => name.startsWith("prune-ee-")).map(([, json]) => schema.parse(json));
  return [
    "## In which order to prune a network and its exits",
    ...ordersOf(result),
    ...others.flatMap((other) => [`### ${backboneName(other.network)}`, ...ordersOf(other)]),
    "### Whole channels",
    `Whole channels removed and fine-tuned (${channelSetup(result)}), beside plain networks; time of a batch of 64, in turn:`,
    channelsTable(result),
    barSentence(result.channels),
    ...(result.widths.length === 0
      ? []
      : [
          `What widths cost: a 3×3 convolution at 16×16, as many channels in as out, the widest is 1; the runtime's block was seen to be ${result.block}.`,
          widthsTable(result),
          "Each layer by itself, milliseconds of a batch of 64:",
          layerTimesTable(result),
        ]),
  ];
}

/** What the orders come to, and what the paper says of them. */
function ordersOf(result: PruneResult): readonly Block[] {
  const { data, rows, claims } = result;
  return [
    `${setup(result)} Accuracies on the ${count(data?.test ?? 0)} test pictures of ${data?.name ?? "CIFAR-10"}; MACs without products with zeros, the dense network without exits is 1. ${machine(result)}.`,
    rows.length === 0 ? "" : exitsTable(result),
    claimsTable(claims),
  ];
}

/** Its lines of the README. */
export function readme(result: PruneResult): readonly Block[] {
  const { sentence, detail = "" } = headline(result);
  return [`Pruning: ${sentence} ${detail}`.trimEnd()];
}

/** What the terminal shows. */
export function summary(result: PruneResult): Summary {
  return { table: exitsTable(result), notes: [headline(result).sentence] };
}
