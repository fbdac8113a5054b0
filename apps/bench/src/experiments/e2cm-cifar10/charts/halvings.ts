import type { Html } from "../../../report/html.ts";
import { lineFigure, percentAxis } from "../../../report/lines.ts";
import { count, percent, points } from "../../../report/numbers.ts";
import { backboneName, grouped } from "../../../report/series.ts";
import { metricSeries } from "../../e2cm/words.ts";
import { CHOICES } from "../choices.ts";
import type { E2cmCifar10Result } from "../schema.ts";
import { byBackbone } from "../tables.ts";

/** In which share of random halvings more was lost than was asked for, a chart for each backbone. */
export function halvingsFigure(result: E2cmCifar10Result): Html | null {
  const { halvings } = result;
  if (halvings.length === 0) return null;
  const most = Math.max(...halvings.map(({ asked }) => asked));
  const charts = byBackbone(result, halvings).map(([backbone, own]) => {
    const lines = grouped(own, ({ metric }) => metric).flatMap(([metric, rows]) =>
      (["guarded", "aimed"] as const).map((choice) => ({
        name: `${metricSeries(metric).name}, ${CHOICES[choice].name}`,
        color: metricSeries(metric).color,
        dashed: choice === "aimed",
        points: rows.map((row) => ({
          x: row.asked,
          y: row[choice].failed / row.halvings,
          title: `Asked to lose at most ${points(row.asked)}, ${CHOICES[choice].name}: more was lost in ${row[choice].failed} of ${row.halvings} halvings; ${points(row[choice].lost)} in the mean, with ${percent(row[choice].macsFraction)} of the multiply-accumulates`,
        })),
      })),
    );
    return {
      title: backboneName(backbone),
      label: `${backboneName(backbone)}: how often more was lost than was asked for`,
      lines,
      x: {
        label: "asked to lose at most, in points",
        domain: [0, most] as const,
        format: (value: number) => `${100 * value}`,
      },
      y: percentAxis("of the halvings, lost more", [0, 1]),
      reference: { y: own[0]!.delta, name: `what the promise allows: ${percent(own[0]!.delta)}` },
    };
  });
  return lineFigure(
    charts,
    `${count(halvings[0]!.halvings)} random halvings of the test pictures: thresholds from one half, what they lose on the other. The other half is a sample itself; what it loses scatters around what is lost on all new pictures.`,
  );
}
