import type { Series } from "../../report/series.ts";

const RULES: Readonly<Record<string, Series>> = {
  posterior: { name: "posterior", color: "var(--blue)" },
  normalised: { name: "normalised", color: "var(--red)" },
  raw: { name: "raw distance", color: "var(--green)" },
  perSampleMaximum: { name: "per-picture maximum", color: "var(--purple)" },
};

const METRICS: Readonly<Record<string, Series>> = {
  sharedCovariance: { name: "shared covariance", color: "var(--blue)" },
  euclidean: { name: "Euclidean", color: "var(--red)" },
};

const VARIANTS: Readonly<Record<string, string>> = {
  full: "all features",
  int8: "8-bit means",
  "pooled4x4 int8": "pooled, 8-bit means",
  moments: "second moments",
  "moments int8": "second moments, 8-bit weights",
};

const OTHER = ["var(--gold)", "var(--purple)", "var(--green)", "var(--ink-2)"];

export function ruleSeries(rule: string): Series {
  return RULES[rule] ?? { name: rule, color: "var(--gold)" };
}

export function metricSeries(metric: string): Series {
  return METRICS[metric] ?? { name: metric, color: "var(--gold)" };
}

/** "Euclidean, normalised"; the posterior rule belongs to the shared covariance and needs no second word. */
export function methodName(metric: string, rule: string): string {
  return rule === "posterior" ? metricSeries(metric).name : `${metricSeries(metric).name}, ${ruleSeries(rule).name}`;
}

/** "all features", "pooled to 4×4", "8-bit means". */
export function variantName(variant: string): string {
  const pooled = /^pooled(\d+)x(\d+)$/.exec(variant);
  return pooled ? `pooled to ${pooled[1]}×${pooled[2]}` : (VARIANTS[variant] ?? variant);
}

/** Whether rows are of a method's own variant: all features for Euclidean means, second moments for the shared covariance. */
export function isMain({ metric, variant }: { readonly metric: string; readonly variant: string }): boolean {
  return variant === "full" || (metric === "sharedCovariance" && variant === "moments");
}

/** A colour for the `index`-th variant; the first has its method's own. */
export function variantColor(index: number, own: string): string {
  return index === 0 ? own : OTHER.filter((color) => color !== own)[(index - 1) % (OTHER.length - 1)]!;
}
