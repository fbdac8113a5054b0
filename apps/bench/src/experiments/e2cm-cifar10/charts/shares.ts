import { figure } from "../../../report/chart.ts";
import { type Html, html, raw } from "../../../report/html.ts";
import { percent, points } from "../../../report/numbers.ts";
import { backboneName, ramp } from "../../../report/series.ts";
import type { E2cmCifar10Result, FrontierRow } from "../schema.ts";
import { byBackbone, defaultRows, plainAccuracy, SHOWN_LOSSES } from "../tables.ts";

/** Which share of the pictures leaves at which exit: one stacked bar for each loss that is asked for, guarded. */
export function sharesFigure(result: E2cmCifar10Result): Html | null {
  const figures = byBackbone(result, result.rows).flatMap(([backbone]) => {
    const rows = defaultRows(result, backbone, "guarded").filter(
      ({ wantedLoss, shares }) => SHOWN_LOSSES.includes(wantedLoss ?? -1) && shares.length > 0,
    );
    if (rows.length === 0) return [];
    const full = plainAccuracy(result, backbone) ?? Number.NaN;
    const { exitNames } = result;
    return [
      html`<h3>${backboneName(backbone)}</h3>${rows.map((row) => bar(row, namesOf(result, backbone, exitNames), full))}`,
    ];
  });
  if (figures.length === 0) return null;
  return figure(
    figures,
    "Every bar is all test pictures, from the first exit on the left to the whole network (full) on the right. Thresholds are guarded for the loss that was asked for; what was lost on the test pictures stands beside it.",
  );
}

/** Exits of the package's default in a backbone, the network's own last. */
function namesOf({ perExit }: E2cmCifar10Result, backbone: string, fallback: readonly string[]): readonly string[] {
  const own = perExit.filter((row) => row.backbone === backbone && row.variant === "moments").map(({ exit }) => exit);
  return own.length === 0 ? fallback : [...own, "full"];
}

function bar(
  { shares, wantedLoss, macsFraction, accuracy }: FrontierRow,
  exits: readonly string[],
  full: number,
): Html {
  const last = shares.length - 1;
  const parts = shares.map((share, index) => {
    if (share <= 0) return null;
    const part = last <= 1 ? 0 : index / (last - 1);
    const colours =
      index === last
        ? "background:var(--neutral);color:var(--ink)"
        : `background:${ramp(part)};color:var(${part < 0.55 ? "--on-from" : "--on-to"})`;
    return html`<span style="${raw(`flex-grow:${(share * 100).toFixed(3)};${colours}`)}"></span>`;
  });
  const words = shares.map(
    (share, index) => html`<span>${exits[index] ?? `exit ${index}`} <b>${percent(share)}</b></span>`,
  );
  return html`<div class="bar">
<p><b>Asked to lose at most ${points(wantedLoss!)}</b>
<span>${percent(macsFraction)} of the multiply-accumulates; ${percent(accuracy, 1)} right${against(accuracy, full)}</span></p>
<div class="stack">${parts}</div><p class="parts">${words}</p></div>\n`;
}

/** ", 0.5 points below the whole network". */
function against(accuracy: number, full: number): string {
  const lost = full - accuracy;
  if (Number.isNaN(lost)) return "";
  if (Math.abs(lost) < 0.00005) return ", as the whole network";
  return lost > 0 ? `, ${points(lost)} below the whole network` : `, ${points(-lost)} above the whole network`;
}
