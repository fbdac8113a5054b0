import * as Plot from "@observablehq/plot";
import { COLUMN, caption, draw, figure, HALF, isPhone, NOT_MEASURED, responsive, table } from "./chart.ts";
import { type Html, html } from "./html.ts";
import { type Line, lineChart } from "./lines.ts";
import { count, decimal, exact, milliseconds, percent, points } from "./numbers.ts";
import { distinct, networkName } from "./series.ts";
import type { TrainCifar10Result, TrainStepResult } from "./types.ts";

type Epoch = TrainCifar10Result["curve"][number];
type Step = TrainStepResult["rows"][number];

const BAR = 34;

/** Loss and accuracy by epoch, of training and of test pictures. */
export function curveSection({ curve }: TrainCifar10Result): Html {
  const [first] = curve;
  if (first === undefined) return NOT_MEASURED;
  const losses = curve.flatMap((row) => [row.trainLoss, row.testLoss]);
  const domain = [Math.max(0, Math.min(...losses) - 0.1), Math.max(...losses) + 0.1] as const;
  const charts = [
    {
      title: "Loss",
      lines: seedLines(
        curve,
        (row) => [row.trainLoss, row.testLoss],
        (value) => decimal(value, 3),
      ),
      y: { label: "cross-entropy", domain, format: (value: number) => decimal(value, 1) },
    },
    {
      title: "Accuracy",
      lines: seedLines(
        curve,
        (row) => [row.trainAccuracy, row.testAccuracy],
        (value) => percent(value, 1),
      ),
      y: { label: "right answers", domain: [0, 1] as const, format: (value: number) => percent(value) },
    },
  ];
  const last = Math.max(2, ...curve.map((row) => row.epoch));
  const drawn = charts.map(
    ({ title, lines, y }) =>
      html`<div><h3>${title}</h3>${responsive(
        (width) =>
          lineChart({
            label: `${title} by epoch`,
            lines,
            x: {
              label: "epoch",
              domain: [1, last],
              format: (value) => (Number.isInteger(value) ? String(value) : ""),
            },
            y,
            width,
            height: isPhone(width) ? 280 : 320,
          }),
        HALF,
      )}</div>`,
  );
  return html`${figure(
    html`<div class="pair">${drawn}</div>`,
    "Training pictures are cropped and mirrored by chance and counted while the network still changes, so they look harder than they are.",
  )}<details><summary>All ${curve.length} epochs</summary>${table(
    [
      "seed and epoch",
      "learning rate after it",
      "training loss",
      "training accuracy",
      "test loss",
      "test accuracy",
      "time",
    ],
    curve.map((row) => [
      `${row.seed}, ${row.epoch}`,
      row.learningRate.toPrecision(3),
      decimal(row.trainLoss, 3),
      percent(row.trainAccuracy, 1),
      decimal(row.testLoss, 3),
      percent(row.testAccuracy, 2),
      `${count(row.seconds)}\u00a0s`,
    ]),
  )}</details>`;
}

/** One line for the test pictures of every seed, and one for the training pictures, the mean over seeds. */
function seedLines(
  curve: readonly Epoch[],
  values: (row: Epoch) => readonly [train: number, test: number],
  format: (value: number) => string,
): Line[] {
  const seeds = distinct(curve.map((row) => row.seed));
  const one = seeds.length === 1;
  const mean = distinct(curve.map((row) => row.epoch)).map((epoch) => {
    const own = curve.filter((row) => row.epoch === epoch).map((row) => values(row)[0]);
    const y = own.reduce((sum, value) => sum + value, 0) / own.length;
    return { x: epoch, y, title: `Epoch ${epoch}: ${format(y)} (training${one ? "" : ", mean over seeds"})` };
  });
  return [
    { name: one ? "training" : "training, mean", color: "var(--red)", points: mean },
    ...seeds.map((seed, index) => ({
      name: one ? "test" : `test, seed ${seed}`,
      color: "var(--blue)",
      dashed: index > 0,
      points: curve
        .filter((row) => row.seed === seed)
        .map((row) => {
          const y = values(row)[1];
          return { x: row.epoch, y, title: `Epoch ${row.epoch}, seed ${seed}: ${format(y)} (test)` };
        }),
    })),
  ];
}

/** A row for every seed, and how far they lie apart. */
export function seedsSection({ rows, spread }: TrainCifar10Result): Html {
  if (rows.length === 0) return NOT_MEASURED;
  const body = rows.map((row) => [
    `${networkName(row.network)}, seed ${row.seed}`,
    count(row.pictures),
    String(row.epochs),
    decimal(row.trainLoss, 3),
    decimal(row.testLoss, 3),
    exact(row.testAccuracy),
    `${count(row.seconds)}\u00a0s`,
    count(row.imagesPerSecond),
  ]);
  const words =
    spread === undefined
      ? ""
      : `${spread.seeds} seeds: ${percent(spread.mean, 2)} on average, from ${percent(spread.least, 2)} to ${percent(spread.most, 2)}, standard deviation ${points(spread.deviation)}.`;
  return html`${table(
    [
      "network",
      "training pictures",
      "epochs",
      "training loss",
      "test loss",
      "test accuracy",
      "time",
      "pictures a second",
    ],
    body,
  )}${words === "" ? null : caption(words)}`;
}

/** Arithmetic a second of every network's training step, and all numbers. */
export function throughputSection({ rows }: TrainStepResult): Html {
  if (rows.length === 0) return NOT_MEASURED;
  const body = rows.map((row) => [
    networkName(row.model),
    `${count(row.batch)} ${row.unit}`,
    row.device,
    milliseconds(row.stepMs),
    `${count(row.imagesPerSecond)} ${row.unit}`,
    decimal(row.gflops, 1),
    `${decimal(row.compileSeconds, 1)}\u00a0s`,
    String(row.runs),
  ]);
  return html`${figure(
    responsive((width) => bars(rows, width), COLUMN),
    "Billions of floating-point operations a second: six for every multiply-accumulate of the forward pass (two forward, four backward), divided by the time of the whole step.",
  )}${table(["network", "batch", "device", "a step", "a second", "GFLOP/s", "compiled in", "steps"], body)}`;
}

function bars(rows: readonly Step[], width: number): Html {
  const named = rows.map((row, index) => ({ ...row, key: String(index) }));
  const name = (key: string) => {
    const row = named[Number(key)]!;
    return `${networkName(row.model)}, ${row.batch}`;
  };
  return draw("GFLOP/s of every training step", {
    width,
    height: rows.length * BAR + 44,
    marginLeft: 112,
    marginRight: 44,
    marginTop: 4,
    marginBottom: 40,
    x: { domain: [0, Math.max(1, ...rows.map((row) => row.gflops)) * 1.05], label: null },
    y: { domain: named.map(({ key }) => key), label: null, padding: 0.35 },
    marks: [
      Plot.gridX({ ticks: isPhone(width) ? 4 : 6, stroke: "var(--grid)", strokeOpacity: 1 }),
      Plot.axisX({ ticks: isPhone(width) ? 4 : 6, tickSize: 0, label: null, fill: "var(--ink-2)" }),
      Plot.axisY({ tickSize: 0, tickFormat: name, label: null, fill: "var(--ink-2)" }),
      Plot.barX(named, {
        x: "gflops",
        y: "key",
        fill: "var(--blue)",
        title: (row: Step) =>
          `${networkName(row.model)}: ${decimal(row.gflops, 1)} GFLOP/s, ${milliseconds(row.stepMs)} a step`,
      }),
      Plot.text(named, {
        x: "gflops",
        y: "key",
        text: (row: Step) => decimal(row.gflops, 1),
        textAnchor: "start",
        dx: 6,
        fill: "var(--ink)",
      }),
      Plot.text(["GFLOP/s"], {
        frameAnchor: "bottom-right",
        textAnchor: "end",
        dy: 34,
        text: (value: string) => value,
        fill: "var(--ink-2)",
      }),
    ],
  });
}
