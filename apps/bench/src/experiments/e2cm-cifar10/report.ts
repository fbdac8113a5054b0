import { caption, details } from "../../report/chart.ts";
import { dataFiles, weightFiles } from "../../report/files.ts";
import { exact, large } from "../../report/numbers.ts";
import type { Report } from "../../report/report.ts";
import { backboneName, capital } from "../../report/series.ts";
import { dataWords } from "../../report/words.ts";
import { confusionFigures } from "./charts/confusion.ts";
import { depthFigure } from "./charts/depth.ts";
import { frontierFigures } from "./charts/frontier.ts";
import { pictureGalleries } from "./charts/pictures.ts";
import { rulesTables } from "./charts/rules.ts";
import { sharesFigure } from "./charts/shares.ts";
import { speedFigure } from "./charts/speed.ts";
import { variantsFigure } from "./charts/variants.ts";
import { headline } from "./headline.ts";
import { PROTOCOLS, protocolName } from "./protocols.ts";
import type { E2cmCifar10Result } from "./schema.ts";
import { fitTable, overheadTable, wallTable } from "./tables.ts";

/** Its chapter of the report. */
export function report(result: E2cmCifar10Result): Report {
  const { overhead, fit, wall, data, weights } = result;
  const protocol = Object.keys(PROTOCOLS).find((name) => result.rows.some((row) => row.protocol === name));
  return {
    headline: headline(result),
    sections: [
      {
        id: "frontier",
        title: "Accuracy for computation",
        about: "Pictures that are easy leave the network early. How much accuracy is left for how much computation?",
        content: frontierFigures(result),
      },
      {
        id: "rules",
        title: "The distance rules side by side",
        about: "A rule turns distances to the class means into a confidence. These are the costs each rule needs.",
        content: rulesTables(result),
      },
      {
        id: "depth",
        title: "What each exit knows",
        about: "How good would the answers be if every picture left at the same exit?",
        content: [depthFigure(result)],
      },
      {
        id: "shares",
        title: "Where pictures leave",
        about: "At each operating point, the share of the test pictures that leaves at each exit.",
        content: [sharesFigure(result)],
      },
      {
        id: "confusion",
        title: "What is mistaken for what",
        about: "Which classes does each exit tell apart, and which does it still mix up?",
        content: confusionFigures(result),
      },
      {
        id: "speed",
        title: "Is less computation less time?",
        about: "Multiply-accumulates are counted, time is measured.",
        content:
          wall.length === 0 ? [] : [speedFigure(result), details(`All ${wall.length} measurements`, wallTable(result))],
      },
      {
        id: "variants",
        title: "Cheaper exits",
        about: "Pooled features and 8-bit means make the exits lighter. What do they lose?",
        content: [
          variantsFigure(result),
          overhead.length > 0 && overheadTable(result),
          overhead.length > 0 &&
            caption(
              `The best rule of each metric${protocol === undefined ? "" : `, ${protocolName(protocol)}`}. A dash: no setting reaches it, or it was not measured.`,
            ),
        ],
      },
      {
        id: "fitting",
        title: "How long fitting takes",
        content:
          fit.length === 0
            ? []
            : [
                fitTable(result),
                caption(
                  "Fitting is one pass over the training pictures; there are no epochs, no gradients and no learning rate.",
                ),
              ],
      },
      {
        id: "examples",
        title: "Easy and hard pictures",
        about: "Test pictures at three times their size.",
        content: pictureGalleries(result),
      },
    ],
    method: method(result),
    files: [...dataFiles(data?.files), ...weightFiles(weights)],
  };
}

function method({ data, backbones }: E2cmCifar10Result): Report["method"] {
  const networks = backbones.map(
    ({ backbone, macs, accuracy }) =>
      `${backboneName(backbone)} has ${large(macs)} multiply-accumulates a picture and answers ${exact(accuracy)} right`,
  );
  return {
    Data: `${dataWords(data)} ${networks.length > 0 ? `${networks.join("; ")}.` : ""}`,
    ...Object.fromEntries(Object.values(PROTOCOLS).map(({ name, meaning }) => [capital(name), meaning])),
    Cost: "Multiply-accumulates (MACs) of one picture: the backbone up to the exit it leaves at, plus every exit it passed on the way. 100 % is the plain network without exits, so a picture that never leaves costs a little more than 100 %.",
    Time: "Wall-clock time to answer the pictures in stages (run a stage, decide, go on with the pictures that stay) divided by the time of the plain network, measured in turn in one process; medians.",
    Distances:
      "Euclidean: distance to the class mean, either raw, or divided by that class's average distance over the training pictures (normalised, the paper's rule), or divided by the largest distance of the same picture. Shared covariance: the posterior probability of a class when all classes share one covariance.",
  };
}
