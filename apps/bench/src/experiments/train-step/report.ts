import * as Plot from "@observablehq/plot";
import type { z } from "zod";
import { AXIS, axisName, draw, figure, gridAndAxisX, responsive } from "../../report/chart.ts";
import type { Html } from "../../report/html.ts";
import { count, decimal, digits, milliseconds } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { networkName } from "../../report/series.ts";
import { tableOf } from "../../report/table.ts";
import type { Summary } from "../experiment.ts";
import type { stepSchema } from "./measure.ts";

type Step = z.output<typeof stepSchema>;
interface Steps {
  readonly rows: readonly Step[];
}

const BAR = 34;

/** Its chapter of the report. */
export function report({ rows }: Steps): Report {
  return {
    headline: headline(rows),
    sections: [
      {
        id: "throughput",
        title: "How much is computed a second",
        about: "A step is the forward pass, the gradients and the optimiser's update, as one program.",
        of: rows,
        content: () => [throughput(rows), table(rows)],
      },
    ],
    method: {
      Step: "Forward pass, cross-entropy, gradients of all parameters and the optimiser's update (SGD with momentum for the ResNets, AdamW for the transformers), with random inputs that stay the same.",
      Time: "Median over the steps, after two that are not counted.",
      "GFLOP/s":
        "Six floating-point operations for every multiply-accumulate of the forward pass's convolutions and matrix products, attention in full, divided by the step's time.",
    },
  };
}

/** What the terminal shows at the end. */
export function summary({ rows }: Steps): Summary {
  const note = "Times are medians. Six FLOPs for every multiply-accumulate of the forward pass.";
  return { table: table(rows), notes: [note] };
}

/** The fastest and the slowest network's arithmetic. */
function headline(rows: readonly Step[]): Headline {
  const sorted = [...rows].sort((a, b) => a.gflops - b.gflops);
  const [least, most] = [sorted[0], sorted.at(-1)];
  if (least === undefined || most === undefined) {
    return { sentence: "The speed of training: nothing was measured in this run." };
  }
  const speed = (value: number) => `${decimal(value, 0)}\u00a0GFLOP/s`;
  return {
    sentence:
      least === most
        ? `Training ${networkName(most.model)} computes ${speed(most.gflops)}.`
        : `Training computes from ${speed(least.gflops)} (${networkName(least.model)}) to ${speed(most.gflops)} (${networkName(most.model)}).`,
    detail: "Whole steps: forward, gradients and the optimiser's update.",
    facts: rows.map(({ imagesPerSecond, unit, model }) => ({
      value: count(imagesPerSecond),
      name: `${unit} a second, ${networkName(model)}`,
    })),
  };
}

function table(rows: readonly Step[]) {
  return tableOf(rows, [
    ["network", ({ model }) => networkName(model)],
    ["batch", ({ batch, unit }) => `${count(batch)} ${unit}`],
    ["device", "device"],
    ["a step", "stepMs", milliseconds],
    ["a second", ({ imagesPerSecond, unit }) => `${count(imagesPerSecond)} ${unit}`],
    ["GFLOP/s", "gflops", digits(1)],
    ["compiled in", "compileSeconds", (value) => `${decimal(value, 1)}\u00a0s`],
    ["steps", "runs"],
  ]);
}

/** Arithmetic a second of every network's training step. */
function throughput(rows: readonly Step[]): Html {
  return figure(
    responsive((width) => bars(rows, width)),
    "Billions of floating-point operations a second: six for every multiply-accumulate of the forward pass (two forward, four backward), divided by the time of the whole step.",
  );
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
      ...gridAndAxisX(width),
      Plot.axisY({ ...AXIS, tickFormat: name }),
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
      axisName("GFLOP/s"),
    ],
  });
}
