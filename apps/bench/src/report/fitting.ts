import { metricSeries } from "../experiments/e2cm/words.ts";
import { NOT_MEASURED, table } from "./chart.ts";
import { mainFirst } from "./frontier.ts";
import { type Html, html } from "./html.ts";
import { count, percent } from "./numbers.ts";
import { backboneName } from "./series.ts";
import type { E2cmCifar10Result } from "./types.ts";

/** How fast the exits are fitted, beside the plain network's speed on the same pictures. */
export function fittingSection(result: E2cmCifar10Result): Html {
  if (result.fit.length === 0) return NOT_MEASURED;
  const body = mainFirst(result, result.fit).flatMap((backbone) =>
    result.fit
      .filter((row) => row.backbone === backbone)
      .map((row) => [
        `${backboneName(backbone)}, ${metricSeries(row.metric).name}`,
        count(row.pictures),
        count(row.fitPicturesPerSecond),
        count(row.plainPicturesPerSecond),
        percent(row.fitPicturesPerSecond / row.plainPicturesPerSecond),
      ]),
  );
  return html`${table(
    ["exits", "pictures", "fitted a second", "plain network, a second", "of the plain network's speed"],
    body,
  )}<p class="caption">Fitting is one pass over the training pictures; there are no epochs, no gradients and no learning rate.</p>`;
}
