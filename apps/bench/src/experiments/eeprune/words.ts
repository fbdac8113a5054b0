/** What a method is called in tables and figures, and its colour there. */
const METHODS: Readonly<Record<string, readonly [name: string, color: string]>> = {
  whole: ["all, for fewer epochs", "var(--ink)"],
  random: ["random", "var(--ink-2)"],
  balancedRandom: ["random, equal classes", "var(--neutral)"],
  eeprune: ["EEPrune", "var(--blue)"],
  coverage: ["coverage over the early exit", "var(--green)"],
  el2n: ["EL2N", "var(--red)"],
  grand: ["GraNd, last layer", "var(--neutral)"],
  forgetting: ["forgetting", "var(--purple)"],
  areaUnderMargin: ["area under the margin", "var(--gold)"],
  margin: ["margin", "var(--neutral)"],
  moderate: ["moderate", "var(--neutral)"],
  herding: ["herding", "var(--neutral)"],
};

/** The name of a method. */
export function methodName(method: string): string {
  const [base, ...rest] = method.split(", ");
  return [METHODS[base!]?.[0] ?? base!, ...rest].join(", ");
}

/** Its colour. */
export function methodColor(method: string): string {
  return METHODS[method]?.[1] ?? "var(--neutral)";
}
