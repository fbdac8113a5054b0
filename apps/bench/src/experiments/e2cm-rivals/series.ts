import { spread } from "../../measuring/spread.ts";
import { distinct, grouped, type Series } from "../../report/series.ts";
import type { RivalRow, RivalsResult } from "./schema.ts";

const METHODS: Readonly<Record<string, Series & { readonly dashed?: boolean }>> = {
  e2cm: { name: "E²CM, shared covariance", color: "var(--blue)" },
  "e2cm-places": { name: "E²CM, at SDN's places", color: "var(--blue)", dashed: true },
  "e2cm-euclidean": { name: "E²CM, class means", color: "var(--red)" },
  sdn: { name: "SDN", color: "var(--green)" },
  "sdn-joint": { name: "SDN, joint", color: "var(--green)", dashed: true },
  branchynet: { name: "BranchyNet", color: "var(--purple)" },
  bwds: { name: "gates (BWDS)", color: "var(--gold)", dashed: true },
  "e2cm-sdn": { name: "E²CM + SDN", color: "var(--gold)" },
  "e2cm-sdn-shared": { name: "E²CM + SDN, shared covariance", color: "var(--purple)" },
};

/** The words, the colour and the stroke of a method. */
export function rivalSeries(method: string): Series & { readonly dashed?: boolean } {
  return METHODS[method] ?? { name: method, color: "var(--ink-2)" };
}

/** A method with its budget on a data set. */
export interface Kind {
  readonly dataset: string;
  readonly method: string;
  readonly budget: string;
}

/** The form of E²CM that trained exits are set beside: the package's metric with exits where SDN has them; of older runs its default. */
export function passMethod(rows: readonly Kind[]): "e2cm-places" | "e2cm" {
  return rows.some(({ method }) => method === "e2cm-places") ? "e2cm-places" : "e2cm";
}

const DATASETS: Readonly<Record<string, string>> = { cifar10: "CIFAR-10", kmnist: "KMNIST", mnist: "MNIST" };

/** "CIFAR-100 subset", "Fashion-MNIST"; claims may be of data sets that were not measured. */
export function datasetName({ datasets }: RivalsResult, dataset: string): string {
  return datasets.find((one) => one.dataset === dataset)?.name ?? DATASETS[dataset] ?? dataset;
}

/** Methods of a budget in the order of their first appearance. */
export function methodsOf(rows: readonly Kind[], budget: string): string[] {
  return distinct(rows.filter((row) => row.budget === budget).map(({ method }) => method));
}

/** Rows by data set, method and budget, in the order of their first appearance. */
export function kindsOf<R extends Kind>(rows: readonly R[]): (Kind & { readonly rows: readonly R[] })[] {
  return grouped(rows, ({ dataset, method, budget }) => `${dataset}\n${method}\n${budget}`).map(([, own]) => {
    const { dataset, method, budget } = own[0]!;
    return { dataset, method, budget, rows: own };
  });
}

/** The rows that belong to a kind. */
export function alike<R extends Kind>(rows: readonly R[], { dataset, method, budget }: Kind): R[] {
  return rows.filter((row) => row.dataset === dataset && row.method === method && row.budget === budget);
}

/**
 * Of every seed the row of a kind with the largest allowed cost up to a fraction of the plain network's; none of a seed that cannot be
 * so cheap. Rows without an allowance are passed over.
 */
export function allowedRows(rows: readonly RivalRow[], kind: Kind, fraction: number): readonly RivalRow[] {
  const best = new Map<number | null, RivalRow>();
  for (const row of alike(rows, kind)) {
    if (row.askedFraction === null || row.askedFraction > fraction + 1e-9) continue;
    if (row.askedFraction > (best.get(row.seed)?.askedFraction ?? -1)) best.set(row.seed, row);
  }
  return [...best.values()];
}

/** The same over the seeds; null where the method cannot be so cheap. */
export function atFraction(rows: readonly RivalRow[], kind: Kind, fraction: number) {
  const best = allowedRows(rows, kind, fraction);
  if (best.length === 0) return null;
  const { mean: macsFraction } = spread(best.map((row) => row.macsFraction));
  return { macsFraction, ...spread(best.map(({ accuracy }) => accuracy)) };
}
