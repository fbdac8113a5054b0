import { claimsTable } from "../../measuring/claims.ts";
import { spread } from "../../measuring/spread.ts";
import { details } from "../../report/chart.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, digits, percent, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { distinct } from "../../report/series.ts";
import { type Table, tableOf } from "../../report/table.ts";
import type { Summary } from "../experiment.ts";
import { byEpoch, byLayer, storyFigure } from "./charts.ts";
import type { LlmResult, LlmRow } from "./schema.ts";

/** Its chapter of the report. */
export function report(result: LlmResult): Report {
  const { models, rows, alphas, noises, rates, shifts, stories, claims, speeds } = result;
  const trained = rows.filter(({ setting }) => setting !== "closed form");
  return {
    headline: headline(result),
    sections: [
      {
        id: "epoch-zero",
        title: "Before any training",
        about:
          "How often is an exit's most likely next token the one that comes? All heads follow from one pass over text.",
        content: models.flatMap((model) => [
          byLayer(rows, model),
          firstTable(rows, model.name),
          details(`${model.name}: cross entropy and agreement`, detailTable(rows, model.name)),
        ]),
      },
      {
        id: "epochs",
        title: "Trained from every beginning",
        about: "The same exit, begun in every way, trained alone or with the decoder.",
        content: distinct(trained.map(({ model }) => model)).flatMap((model) => {
          const own = trained.filter((row) => row.model === model);
          return [...byEpoch(own), details(`${model}: every epoch`, epochTable(own))];
        }),
      },
      {
        id: "rates",
        title: "When a head gets worse at first",
        about:
          "The paper's class-aware head loses half of its accuracy in the first epoch that it is trained alone. The same here, by the size of the step: the logits of the class-aware head are not calibrated, so that the first gradients are large.",
        content: rates.length === 0 ? [] : [rateTable(rates)],
      },
      {
        id: "shift",
        title: "The model is used on other text",
        about: SHIFT,
        content: shifts.length === 0 ? [] : [shiftTable(shifts)],
      },
      {
        id: "story",
        title: "Who would have said it first",
        content: stories.map(storyFigure),
      },
      {
        id: "sweeps",
        title: "Shares of the mix, and the noise",
        about:
          "α of the paper's mixes, with the weights mixed alone or the biases too; N₀ as multiples of its estimate.",
        content: [alphas.length > 0 && alphaTable(alphas), noises.length > 0 && noiseTable(noises)],
      },
      {
        id: "claims",
        title: "What the paper says",
        content: claims.length === 0 ? [] : [claimsTable(claims)],
      },
      {
        id: "speed",
        title: "What summing up costs",
        content: [speeds.length > 0 && speedTable(speeds), models.length > 0 && modelTable(models)],
      },
    ],
    method: [
      [
        "Tokens",
        "The state at a token predicts the next one. The first position of every window and the borders of documents are left out. Heads are fitted on one part of the text, temperatures and weights on a second, and everything is reported on a third; no document is in two.",
      ],
      [
        "Heads",
        "Class-aware is the paper's: weights are means of raw states by the next token, the bias is (N₀/2)·ln P − ½·‖mean‖². Copy is the model's own output matrix on raw states, copy+norm after the final norm. Linear map guesses the last state by least squares and reads it with the model's matrix; map + classes adds log likelihood ratios of the classes with a shared covariance, both weights fitted on calibration text.",
      ],
      [
        "Training",
        "Adam with a constant rate on sequences of the fitted text, cross entropy of the exit plus that of the full model; judged on test text after every epoch.",
      ],
    ],
    data: models.map(({ name, text }) => `${name} on ${text}`),
  };
}

function first(rows: readonly LlmRow[], model: string): readonly LlmRow[] {
  return rows.filter((row) => row.model === model && row.setting === "closed form");
}

function headline({ models, rows }: LlmResult): Headline {
  const [model] = models;
  if (model === undefined) return { sentence: "Exits of language models: nothing was measured in this run." };
  const own = first(rows, model.name);
  const layers = distinct(own.map(({ layer }) => layer));
  const middle = layers[Math.floor((layers.length - 1) / 2)]!;
  const of = (init: string) => own.find((row) => row.init === init && row.layer === middle)!.accuracy;
  return {
    sentence: `After ${middle} of ${model.layers} blocks of ${model.name}, a head that was never trained foretells ${percent(of("map + classes"), 1)} of the next tokens; the paper's ${percent(of("class-aware"), 1)}, the model's own head there ${percent(of("copy+norm"), 1)}.`,
    detail: `The full model: ${percent(model.accuracy, 1)}. ${count(model.fit)} tokens of text were passed over once.`,
    facts: [
      {
        value: `${decimal(of("class-aware") / of("copy"), 1)} ×`,
        name: "class-aware against copying, the paper's 4.4",
      },
      { value: percent(of("map + classes"), 1), name: `right after block ${middle}, map + classes` },
    ],
  };
}

function firstTable(rows: readonly LlmRow[], model: string): Table {
  const own = first(rows, model);
  const layers = distinct(own.map(({ layer }) => layer));
  return tableOf(distinct(own.map(({ init }) => init)), [
    [`${model}: right`, (init) => init],
    ...layers.map(
      (layer) =>
        [
          `block ${layer}`,
          (init: string) => own.find((row) => row.init === init && row.layer === layer)?.accuracy,
          (value: number) => percent(value, 1),
        ] as const,
    ),
    ["full model", () => own[0]?.full, (value) => percent(value, 1)],
  ]);
}

function detailTable(rows: readonly LlmRow[], model: string): Table {
  return tableOf(first(rows, model), [
    ["head", ({ init, layer }) => `block ${layer}, ${init}`],
    ["right", "accuracy", (value) => percent(value, 1)],
    ["nats a token", "crossEntropy", digits(3)],
    ["as the model", "agreement", (value) => percent(value, 1)],
  ]);
}

/** Means over seeds. */
function epochTable(rows: readonly LlmRow[], epochs?: readonly number[]): Table {
  const groups = distinct(rows.map(({ setting, init }) => JSON.stringify([setting, init])));
  const shown = epochs ?? distinct(rows.map(({ epoch }) => epoch));
  const of = (key: string, epoch: number) => {
    const [setting, init] = JSON.parse(key) as [string, string];
    return rows.filter((row) => row.setting === setting && row.init === init && row.epoch === epoch);
  };
  const cell = (key: string, epoch: number) => {
    const found = of(key, epoch).map(({ accuracy }) => accuracy);
    if (found.length === 0) return undefined;
    const { mean, deviation } = spread(found);
    return `${percent(mean, 1)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 1)}`}`;
  };
  return tableOf(groups, [
    ["right by epoch", (key) => (JSON.parse(key) as string[]).join(": ")],
    ...shown.map((epoch) => [String(epoch), (key: string) => cell(key, epoch)] as const),
  ]);
}

/** By epoch, a row for each head and rate. */
function rateTable(rates: LlmResult["rates"]): Table {
  const keys = distinct(
    rates.map(({ model, layer, init, learningRate }) => JSON.stringify([model, layer, init, learningRate])),
  );
  const of = (key: string) =>
    rates.filter((row) => JSON.stringify([row.model, row.layer, row.init, row.learningRate]) === key);
  return tableOf(keys, [
    ["right by epoch", (key) => `${of(key)[0]!.model}, block ${of(key)[0]!.layer}: ${of(key)[0]!.init}`],
    ["rate", (key) => of(key)[0]!.learningRate, String],
    ...distinct(rates.map(({ epoch }) => epoch)).map(
      (epoch) =>
        [
          String(epoch),
          (key: string) => of(key).find((row) => row.epoch === epoch)?.accuracy,
          (value: number) => percent(value, 1),
        ] as const,
    ),
    ["nats a token at first", (key) => of(key)[0]!.crossEntropy, digits(2)],
  ]);
}

const SHIFT =
  "Requests with answers (three words of a story, its last sentence, then the story; the form of TinyStories-Instruct) instead of plain stories: the old heads as they are, new ones from one pass over some of that text, new ones from the statistics of both texts, and the old ones trained on it.";

function shiftTable(shifts: LlmResult["shifts"]): Table {
  return tableOf(shifts, [
    ["head", ({ model, layer, init }) => `${model}, block ${layer}: ${init}`],
    ["on the new text", ({ way, epochs }) => (epochs > 0 ? `${way}, ${epochs} epochs` : way)],
    ["tokens of it", "tokens", count],
    ["seconds", "seconds", digits(1)],
    ["right", "accuracy", (value) => percent(value, 1)],
    ["nats a token", "crossEntropy", digits(2)],
    ["full model", "full", (value) => percent(value, 1)],
  ]);
}

function alphaTable(alphas: LlmResult["alphas"]): Table {
  const keys = distinct(
    alphas.map(({ model, layer, partner, combineBias }) => JSON.stringify([model, layer, partner, combineBias])),
  );
  return tableOf(keys, [
    [
      "right at epoch 0",
      (key) => {
        const [model, layer, partner, bias] = JSON.parse(key) as [string, number, string, string];
        return `${model}, block ${layer}: with ${partner}, ${bias === "both" ? "biases mixed" : "weights alone"}`;
      },
    ],
    ...distinct(alphas.map(({ alpha }) => alpha)).map(
      (alpha) =>
        [
          `α ${alpha}`,
          (key: string) =>
            alphas.find(
              (row) =>
                row.alpha === alpha && JSON.stringify([row.model, row.layer, row.partner, row.combineBias]) === key,
            )?.accuracy,
          (value: number) => percent(value, 1),
        ] as const,
    ),
  ]);
}

function noiseTable(noises: LlmResult["noises"]): Table {
  const keys = distinct(noises.map(({ model, layer }) => JSON.stringify([model, layer])));
  return tableOf(keys, [
    [
      "right at epoch 0",
      (key) => {
        const [model, layer] = JSON.parse(key) as [string, number];
        return `${model}, block ${layer}`;
      },
    ],
    [
      "N₀",
      (key) => noises.find((row) => JSON.stringify([row.model, row.layer]) === key && row.factor === 1)?.n0,
      digits(2),
    ],
    ...distinct(noises.map(({ factor }) => factor)).map(
      (factor) =>
        [
          `× ${factor}`,
          (key: string) =>
            noises.find((row) => row.factor === factor && JSON.stringify([row.model, row.layer]) === key)?.accuracy,
          (value: number) => percent(value, 1),
        ] as const,
    ),
  ]);
}

function speedTable(speeds: LlmResult["speeds"]): Table {
  return tableOf(speeds, [
    ["summed up", ({ model, sums }) => `${model}: ${sums}`],
    ["speed of plain inference", "fraction", times],
    ["plain tokens a second", "plainTokensPerSecond", count],
    ["rounds", "rounds"],
  ]);
}

function modelTable(models: LlmResult["models"]): Table {
  return tableOf(models, [
    ["model", "name"],
    ["parameters", "parameters", count],
    ["vocabulary", "vocabulary"],
    ["tokens fitted", "fit"],
    ["calibration", "calibration"],
    ["test", "test"],
    ["tokens of the vocabulary not in the text", "unseen"],
    ["statistics of an exit", "statisticsBytes", (value) => `${decimal(value / 1e6, 1)} MB`],
  ]);
}

/** Its part of docs/measured.md. */
export function measured(result: LlmResult): readonly Block[] {
  const { models, rows, alphas, noises, rates, shifts, claims, speeds } = result;
  const trained = rows.filter(({ setting }) => setting !== "closed form");
  const epochs = distinct(trained.map(({ epoch }) => epoch));
  const shown =
    epochs.length > 6 ? epochs.filter((epoch) => epoch < 3 || epoch === 5 || epoch === epochs.at(-1)) : epochs;
  return [
    "## Exits of language models that predict before they are trained",
    `Accuracy of the next token at an exit, every head from one pass over text and no gradient, by the blocks in front of it. ${machine(result)}.`,
    ...models.flatMap((model) => [`${model.name} on ${model.text}:`, firstTable(rows, model.name)]),
    ...distinct(trained.map(({ model }) => model)).flatMap((model) => {
      const own = trained.filter((row) => row.model === model);
      const seeds = distinct(own.map(({ seed }) => seed)).length;
      const over = seeds > 1 ? `, mean ± standard deviation over ${seeds} seeds` : "";
      return [
        `${model}, trained at block ${own[0]!.layer} from every beginning, alone or with the decoder${over}:`,
        epochTable(own, shown),
      ];
    }),
    ...(rates.length === 0 ? [] : ["When a head that is trained alone gets worse at first:", rateTable(rates)]),
    ...(shifts.length === 0 ? [] : [SHIFT, shiftTable(shifts)]),
    "The paper's sentences:",
    claimsTable(claims),
    "Shares of the mix and the noise, before training:",
    alphaTable(alphas),
    noiseTable(noises),
    "What summing up costs:",
    speedTable(speeds),
    modelTable(models),
  ];
}

/** What the terminal shows at the end. */
export function summary({ rows, models }: LlmResult): Summary {
  const [model] = models;
  if (model === undefined) return { table: tableOf([], [["model", () => ""]]) };
  const notes = [`The full model is right ${percent(model.accuracy, 1)} of the time. Heads are not trained.`];
  return { table: firstTable(rows, model.name), notes };
}
