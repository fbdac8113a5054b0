import type { ClusteringResult } from "./clustering-types.ts";
import { settledWords } from "./clustering-words.ts";
import type { Headline } from "./headline.ts";
import { count, decimal, percent, points } from "./numbers.ts";

/** What stopping early saves within a point of the plain network's clustering accuracy. */
export function clusteringHeadline(result: ClusteringResult): Headline {
  const { saving, means, runs, paper } = result;
  const [first] = saving;
  const plain = means.find((mean) => mean.dataset === first?.dataset && mean.budget === null);
  if (first === undefined || plain === undefined) {
    const sentence = "Early exit by cluster means: nothing was measured in this run.";
    return { sentence, detail: "", met: undefined, facts: [] };
  }
  const { dataset, point, fullAccuracy } = first;
  const own = runs.filter((run) => run.dataset === dataset);
  const cheapest = means.find((mean) => mean.dataset === dataset && mean.budget !== null);
  const judged = paper.filter(({ status }) => status === "reached" || status.startsWith("below"));
  const reached = judged.filter(({ status }) => status === "reached").length;
  const beside =
    judged.length === 0
      ? "Only all pictures of a data set can be compared with the paper."
      : `${reached} of ${judged.length} points of the paper's curves that could be compared are reached.`;
  const over = plain.runs === 1 ? "one run" : `${plain.runs} runs`;
  const sentence =
    point === null
      ? `${dataset}, clustered without labels: no cost below the plain network's keeps its ${percent(fullAccuracy, 1)} to within a point.`
      : `${dataset}, clustered without labels: ${percent(point.macsFraction)} of the computation keeps the clustering accuracy to within a point, ${percent(point.accuracy, 1)} instead of ${percent(fullAccuracy, 1)} (mean of ${over}).`;
  return {
    sentence,
    detail: ["The point is read off the curve of means; its thresholds saw no label.", beside, settledWords(result)]
      .join(" ")
      .trimEnd(),
    met: undefined,
    facts: [
      ...(point === null ? [] : [{ value: percent(1 - point.macsFraction), name: "of the computation saved" }]),
      {
        value: percent(plain.accuracy, 1),
        name: `clustering accuracy of the plain network${plain.deviation !== undefined && plain.runs > 1 ? `, ± ${points(plain.deviation)} over runs` : ""}`,
      },
      ...(cheapest === undefined
        ? []
        : [
            {
              value: percent(cheapest.accuracy, 1),
              name: `if all leave after the first layer, at ${percent(cheapest.macsFraction)}`,
            },
          ]),
      { value: decimal(plain.nmi, 3), name: "NMI of the plain network" },
      {
        value: count(own.reduce((sum, run) => sum + run.staged.differences, 0)),
        name: `of ${count(own.reduce((sum, run) => sum + run.staged.pictures, 0))} pictures differ when run in stages`,
      },
    ],
  };
}
