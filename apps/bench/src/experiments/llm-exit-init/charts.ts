import { spread } from "../../measuring/spread.ts";
import { figure } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { countAxis, type Line, lineFigure, percentAxis } from "../../report/lines.ts";
import { decimal, digits, percent } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import type { LlmModel, LlmRow, Story } from "./schema.ts";

/** A colour for each kind of head; heads that are not drawn are in the tables. */
const COLOURS: Readonly<Record<string, string>> = {
  random: "var(--ink-2)",
  copy: "var(--gold)",
  "copy+norm": "var(--gold)",
  "class-aware": "var(--blue)",
  "class-aware, calibrated": "var(--purple)",
  "linear map": "var(--green)",
  "map + classes": "var(--red)",
};

const DRAWN_FIRST = ["copy+norm", "class-aware", "linear map", "map + classes"];

/** Heads with hidden units, however many. */
function isHidden(init: string): boolean {
  return init.endsWith("hidden units");
}

/** Accuracy before training by the blocks in front of the exit. */
export function byLayer(rows: readonly LlmRow[], { name, accuracy }: LlmModel): Html {
  const own = rows.filter((row) => row.model === name && row.setting === "closed form");
  const layers = own.map(({ layer }) => layer);
  const wide = own.map(({ init }) => init).filter(isHidden);
  const lines = [...DRAWN_FIRST, ...wide.slice(0, 1)].map((init) => ({
    name: init,
    color: COLOURS[init] ?? "var(--purple)",
    points: own
      .filter((row) => row.init === init)
      .map((row) => ({
        x: row.layer,
        y: row.accuracy,
        title: `${init}, block ${row.layer}: ${percent(row.accuracy, 1)}`,
      })),
  }));
  const chart = {
    title: name,
    label: `Accuracy of the next token by exit, ${name}`,
    lines,
    x: countAxis("blocks in front of the exit", [Math.min(...layers), Math.max(...layers)]),
    y: percentAxis("next tokens right", [0, accuracy * 1.1]),
    reference: { y: accuracy, name: "full model" },
  };
  return lineFigure([chart], "No head has been trained. Copying reads the state through the model's final norm.");
}

/** The paper's two panels of one model: accuracy by epoch, frozen and not, and below them the cross entropy. */
export function byEpoch(rows: readonly LlmRow[]): readonly Html[] {
  const settings = (["not frozen", "frozen"] as const).filter((setting) => rows.some((row) => row.setting === setting));
  const trained = rows.filter(({ setting }) => setting !== "closed form");
  const top = Math.max(...trained.map(({ accuracy }) => accuracy));
  const x = countAxis("epoch", [0, Math.max(...trained.map(({ epoch }) => epoch))]);
  const panel = (setting: LlmRow["setting"], of: (row: LlmRow) => number, format: (value: number) => string) => {
    const own = rows.filter((row) => row.setting === setting);
    return distinct(own.map(({ init }) => init)).map((init): Line => {
      const mine = own.filter((row) => row.init === init);
      const mixed = init.includes(" + ") && init !== "map + classes";
      const points = distinct(mine.map(({ epoch }) => epoch)).map((epoch) => {
        const { mean, deviation } = spread(mine.filter((row) => row.epoch === epoch).map(of));
        const off = deviation === undefined ? "" : ` ± ${format(deviation)}`;
        return { x: epoch, y: mean, title: `${init}, epoch ${epoch}: ${format(mean)}${off}` };
      });
      const color = mixed ? (init.endsWith("copy") ? "var(--gold)" : "var(--ink-2)") : COLOURS[init]!;
      return { name: init, color, dashed: mixed, points };
    });
  };
  const model = trained[0]!.model;
  const title = { "not frozen": `${model}, trained with its head`, frozen: `${model}: head trained alone` } as const;
  const losses = trained.map(({ crossEntropy }) => crossEntropy);
  const crossEntropy = {
    label: "nats a token",
    domain: [Math.min(...losses) * 0.95, Math.min(Math.max(...losses), 6.5)] as const,
    format: digits(1),
  };
  return [
    lineFigure(
      settings.map((setting) => ({
        title: title[setting],
        label: `${title[setting]}: accuracy by epoch`,
        lines: panel(
          setting,
          ({ accuracy }) => accuracy,
          (value) => percent(value, 1),
        ),
        x,
        y: percentAxis("next tokens right", [0, top * 1.1]),
        phoneHeight: 320,
      })),
      "Means over seeds; epoch 0 is before training. Dashed: mixes with the class-aware head.",
    ),
    lineFigure(
      settings.map((setting) => ({
        title: title[setting],
        label: `${title[setting]}: cross entropy by epoch`,
        lines: panel(
          setting,
          (row) => Math.min(row.crossEntropy, crossEntropy.domain[1]),
          (value) => decimal(value, 2),
        ),
        x,
        y: crossEntropy,
        phoneHeight: 320,
      })),
      `Cross entropy above ${decimal(crossEntropy.domain[1], 1)} is drawn at the top.`,
    ),
  ];
}

const EXIT_COLOURS = ["var(--green)", "var(--blue)", "var(--purple)", "var(--gold)", "var(--red)"];

/** Each token underlined in the colour of the first exit that would have said it right. */
export function storyFigure({ model, exits, pieces }: Story): Html {
  // No two look alike: the full model has a colour of its own, and a second round is dotted.
  const style = (exit: number) => {
    const colour = exit === exits.length - 1 ? "var(--ink)" : EXIT_COLOURS[exit % EXIT_COLOURS.length];
    return `border-bottom: 3px ${exit < EXIT_COLOURS.length || exit === exits.length - 1 ? "solid" : "dotted"} ${colour}`;
  };
  const shares = exits.map((_, exit) => pieces.filter((piece) => piece.exit === exit).length / pieces.length);
  const none = pieces.filter(({ exit }) => exit === null).length / pieces.length;
  const key = exits.map((name, exit) => html`<span style="${style(exit)}">${name}</span> ${percent(shares[exit]!)} · `);
  const text = pieces.map(({ text: piece, exit }) =>
    exit === null
      ? html`<span>${piece}</span>`
      : html`<span style="${style(exit)}" title="${exits[exit]!}">${piece}</span>`,
  );
  return figure(
    html`<p class="key">${key}none ${percent(none)}</p><p style="line-height: 2; white-space: pre-wrap">${text}</p>`,
    `${model}: a text the heads were not fitted on. A token is underlined in the colour of the first exit whose most likely next token it was.`,
  );
}
