import { details } from "../../report/chart.ts";
import { dataFiles, weightFiles } from "../../report/files.ts";
import { html } from "../../report/html.ts";
import { exact, large } from "../../report/numbers.ts";
import type { Report } from "../../report/report.ts";
import { backboneName, capital } from "../../report/series.ts";
import { htmlTable } from "../../report/table.ts";
import { dataWords } from "../../report/words.ts";
import { confusionFigures } from "./charts/confusion.ts";
import { depthFigure } from "./charts/depth.ts";
import { frontierFigure, rulesFigures, variantsFigure } from "./charts/frontier.ts";
import { halvingsFigure } from "./charts/halvings.ts";
import { pictureGalleries } from "./charts/pictures.ts";
import { sharesFigure } from "./charts/shares.ts";
import { speedFigure } from "./charts/speed.ts";
import { CHOICES } from "./choices.ts";
import { headline } from "./headline.ts";
import type { E2cmCifar10Result } from "./schema.ts";
import { byBackbone, fitTable, halvingsTable, lossTable, overheadTable, wallTable } from "./tables.ts";

/** Its chapter of the report. */
export function report(result: E2cmCifar10Result): Report {
  const { overhead, fit, wall, halvings, data, weights, rows } = result;
  return {
    headline: headline(result),
    sections: [
      {
        id: "frontier",
        title: "Accuracy for computation",
        about:
          "After some blocks of the network stands an exit. It compares what the network has computed of a picture so far with the means of that over the training pictures of each class (class means; with a shared covariance, the posterior probability of each class). Where it is surer than a threshold the picture leaves with the exit's answer, and nothing behind is computed. How much accuracy is left for how much computation, counted in multiply-accumulates?",
        content: [frontierFigure(result)],
      },
      {
        id: "promise",
        title: "Is the promise kept?",
        about:
          "Thresholds are asked to lose at most so much accuracy. Aimed at: they lost no more on the pictures that chose them. Guarded: they lose no more on new pictures, with probability 0.9. How often is more lost all the same?",
        of: halvings,
        content: () => [halvingsFigure(result), halvingsTable(result)],
      },
      {
        id: "shares",
        title: "Where pictures leave",
        about: "For every loss that is asked for, the share of the test pictures that leaves at each exit.",
        content: [sharesFigure(result)],
      },
      {
        id: "speed",
        title: "Is less computation less time?",
        about: "Multiply-accumulates are counted, time is measured. Everything in a row is of the same pictures.",
        of: wall,
        content: () => [speedFigure(result), wallTable(result)],
      },
      {
        id: "depth",
        title: "What each exit knows",
        about: "How good would the answers be if every picture left at the same exit?",
        content: [depthFigure(result)],
      },
      {
        id: "confusion",
        title: "What is mistaken for what",
        about: "Which classes does each exit tell apart, and which does it still mix up?",
        content: confusionFigures(result),
      },
      {
        id: "examples",
        title: "Easy and hard pictures",
        about: "Test pictures at three times their size.",
        content: pictureGalleries(result),
      },
      {
        id: "others",
        title: "Other rules, other exits",
        about:
          "A rule turns the distances to the class means into how sure an exit is; features can be pooled to fewer numbers, and means kept in 8 bits.",
        of: rows,
        content: () => [
          details(
            "All rules, under every way to choose thresholds",
            html`${rulesFigures(result)}${lossTables(result)}`,
          ),
          details("Pooled features and 8-bit means", html`${variantsFigure(result)}`),
          overhead.length > 0 && details("What exits add when nothing leaves", overheadTable(result)),
        ],
      },
      ...(fit.length === 0
        ? []
        : [
            {
              id: "fitting",
              title: "How long fitting takes",
              about: "One pass over the training pictures: no epochs, no gradients, no learning rate.",
              content: [fitTable(result)],
            },
          ]),
    ],
    method: method(result),
    files: [...dataFiles(data?.files), ...weightFiles(weights)],
  };
}

/** MACs and change of accuracy of every method for what it was asked to lose. */
function lossTables(result: E2cmCifar10Result) {
  return byBackbone(result, result.rows).flatMap(([backbone]) =>
    (["guarded", "aimed"] as const).map((choice) => {
      const table = htmlTable(lossTable(result, backbone, choice));
      return html`<h3>${backboneName(backbone)}, ${CHOICES[choice].name}: MACs, and change of accuracy in points</h3>${table}`;
    }),
  );
}

function method({ data, backbones }: E2cmCifar10Result): Report["method"] {
  const networks = backbones.map(
    ({ backbone, macs, accuracy }) =>
      `${backboneName(backbone)} has ${large(macs)} multiply-accumulates a picture and answers ${exact(accuracy)} right`,
  );
  return {
    Data: `${dataWords(data)} ${networks.length > 0 ? `${networks.join("; ")}.` : ""}`,
    ...Object.fromEntries(Object.values(CHOICES).map(({ name, meaning }) => [capital(name), meaning])),
    Cost: "Multiply-accumulates (MACs) of one picture: the backbone up to the exit it leaves at, plus every exit it passed on the way. 100 % is the plain network without exits, so a picture that never leaves costs a little more than 100 %.",
    Time: "Wall-clock time to answer the pictures in stages (run a stage, decide, go on with the pictures that stay) divided by the time of the plain network, measured in turn in one process; medians.",
    Loss: "Accuracy of the whole network less that with exits, on the same pictures. Its 95 % interval is 1.96 standard errors of the differences picture by picture: 1 where only the whole network is right, −1 where only the exits are, 0 elsewhere.",
    Distances:
      "Class means: Euclidean distance to the class mean, either raw, or divided by that class's average distance over the training pictures (normalised, the paper's rule), or divided by the largest distance of the same picture. Shared covariance: the posterior probability of a class when all classes share one covariance.",
  };
}
