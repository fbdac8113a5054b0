import { details, figure } from "../../../report/chart.ts";
import { type Html, html, raw } from "../../../report/html.ts";
import { percent, points } from "../../../report/numbers.ts";
import { backboneName, capital, ramp } from "../../../report/series.ts";
import { metricSeries } from "../../e2cm/words.ts";
import { protocolName, protocolsOf } from "../protocols.ts";
import type { E2cmCifar10Result, Operating } from "../schema.ts";
import { mainFirst, plainAccuracy } from "../tables.ts";

/** Narrower parts get no number inside. */
const LABELLED = 0.075;

/** Which share of the pictures leaves at which exit: one stacked bar for each operating point. */
export function sharesFigure(result: E2cmCifar10Result): Html | null {
  if (result.operating.length === 0) return null;
  const [first, ...others] = protocolsOf(result.operating).map((protocol) => ({
    name: protocolName(protocol),
    bars: mainFirst(result, result.operating).map((backbone) => bars(result, backbone, protocol)),
  }));
  return figure(
    html`${key()}${first!.bars}${others.map(({ name, bars }) => details(`The same by ${name}`, html`${bars}`))}`,
    `Every bar is all test pictures; point at a part for its exit. Thresholds were chosen by ${first!.name} for the wanted loss; what they lost on the test pictures stands beside it.`,
  );
}

function bars(result: E2cmCifar10Result, backbone: string, protocol: string): Html | null {
  const own = result.operating
    .filter((one) => one.backbone === backbone && one.protocol === protocol)
    .sort((a, b) => b.metric.localeCompare(a.metric) || a.wantedLoss - b.wantedLoss);
  const full = plainAccuracy(result, backbone);
  return own.length === 0 ? null : html`<h3>${backboneName(backbone)}</h3>${own.map((one) => bar(one, full))}`;
}

function key(): Html {
  const gradient = [0, 0.25, 0.5, 0.75, 1].map(ramp).join(",");
  return html`<p class="key">first exit <i style="${raw(`background:linear-gradient(90deg,${gradient})`)}"></i> last exit
<i class="square"></i> full network</p>`;
}

function bar(one: Operating, full: number | undefined): Html {
  const last = one.shares.length - 1;
  const parts = one.shares.map(({ exit, share }, index) => {
    if (share <= 0) return null;
    const part = last <= 1 ? 0 : index / (last - 1);
    const colours =
      index === last
        ? "background:var(--neutral);color:var(--ink)"
        : `background:${ramp(part)};color:var(${part < 0.55 ? "--on-from" : "--on-to"})`;
    const where = index === last ? `full network (${exit})` : `exit ${index + 1} (${exit})`;
    return html`<span style="${raw(`flex-grow:${(share * 100).toFixed(3)};${colours}`)}" title="${where}: ${percent(share, 1)}">${
      share >= LABELLED ? percent(share) : null
    }</span>`;
  });
  const measured = full === undefined ? "" : `, ${against(one.accuracy, full)}`;
  return html`<div class="bar">
<p><b>${capital(metricSeries(one.metric).name)}</b>, asked to lose at most ${points(one.wantedLoss)}
<span>${percent(one.macsFraction)} of the multiply-accumulates; ${percent(one.accuracy, 1)} right${measured}</span></p>
<div class="stack">${parts}</div></div>\n`;
}

/** "0.5 points below the full network". */
function against(accuracy: number, full: number): string {
  const lost = full - accuracy;
  if (Math.abs(lost) < 0.00005) return "as the full network";
  return lost > 0 ? `${points(lost)} below the full network` : `${points(-lost)} above the full network`;
}
