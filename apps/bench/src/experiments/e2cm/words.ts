import type { Series } from "../../report/series.ts";

const RULES: Readonly<Record<string, Series>> = {
  posterior: { name: "posterior", color: "var(--blue)" },
  normalised: { name: "normalised", color: "var(--red)" },
  raw: { name: "raw distance", color: "var(--green)" },
  perSampleMaximum: { name: "per-picture maximum", color: "var(--purple)" },
};

const METRICS: Readonly<Record<string, Series>> = {
  sharedCovariance: { name: "shared covariance", color: "var(--blue)" },
  euclidean: { name: "class means", color: "var(--red)" },
};

const VARIANTS: Readonly<Record<string, string>> = {
  full: "all features",
  int8: "8-bit means",
  "pooled4x4 int8": "pooled, 8-bit means",
  moments: "second moments",
  "moments int8": "second moments, 8-bit weights",
};

/** Colours of variants that are not a method's own. */
const VARIANT_COLORS: Readonly<Record<string, string>> = {
  int8: "var(--gold)",
  "moments int8": "var(--gold)",
  pooled4x4: "var(--green)",
  "pooled4x4 int8": "var(--purple)",
};

function ruleSeries(rule: string): Series {
  return RULES[rule] ?? { name: rule, color: "var(--gold)" };
}

/** A metric and its rule: the same name and colour in every figure. */
export function methodSeries(metric: string, rule: string): Series {
  return { name: methodName(metric, rule), color: ruleSeries(rule).color };
}

export function metricSeries(metric: string): Series {
  return METRICS[metric] ?? { name: metric, color: "var(--gold)" };
}

/** "class means, normalised"; the posterior rule belongs to the shared covariance and needs no second word. */
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

/** The colour of a variant; a method's own variant has the method's. */
export function variantColor(variant: string, own: string): string {
  return VARIANT_COLORS[variant] ?? own;
}
