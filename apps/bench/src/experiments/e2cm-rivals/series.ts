import { spread } from "../../measuring/spread.ts";
import { distinct, type Series } from "../../report/series.ts";
import { allowedRows } from "./allowance.ts";
import type { RivalRow, RivalsResult } from "./schema.ts";

type Point = Pick<RivalRow, "dataset" | "method" | "budget" | "seed">;

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

/**
 * The form of E²CM that trained exits are set beside: the package's metric with exits where SDN has them; of older runs its default.
 */
export function passMethod(rows: readonly Point[]): "e2cm-places" | "e2cm" {
  return rows.some(({ method }) => method === "e2cm-places") ? "e2cm-places" : "e2cm";
}

/** The words, the colour and the stroke of a method. */
export function rivalSeries(method: string): Series & { readonly dashed?: boolean } {
  return METHODS[method] ?? { name: method, color: "var(--ink-2)" };
}

const DATASETS: Readonly<Record<string, string>> = { cifar10: "CIFAR-10", kmnist: "KMNIST", mnist: "MNIST" };

/** "CIFAR-100 subset", "Fashion-MNIST"; claims may be of data sets that were not measured. */
export function datasetName({ datasets }: RivalsResult, dataset: string): string {
  return datasets.find((one) => one.dataset === dataset)?.name ?? DATASETS[dataset] ?? dataset;
}

/** Methods of a budget in the order of their first appearance. */
export function methodsOf(rows: readonly Point[], budget: string): string[] {
  return distinct(rows.filter((row) => row.budget === budget).map(({ method }) => method));
}

/** A method with its budget on a data set, and its rows. */
export interface Kind<R> {
  readonly dataset: string;
  readonly method: string;
  readonly budget: string;
  readonly rows: readonly R[];
}

/** Rows by data set, method and budget, in the order of their first appearance. */
export function kindsOf<R extends Point>(rows: readonly R[]): Kind<R>[] {
  const keyOf = ({ dataset, method, budget }: Point) => `${dataset}\n${method}\n${budget}`;
  return distinct(rows.map(keyOf)).map((key) => {
    const own = rows.filter((row) => keyOf(row) === key);
    const { dataset, method, budget } = own[0]!;
    return { dataset, method, budget, rows: own };
  });
}

/** The rows that belong to a kind. */
export function alike<R extends Point>(rows: readonly R[], { dataset, method, budget }: Kind<unknown>): R[] {
  return rows.filter((row) => row.dataset === dataset && row.method === method && row.budget === budget);
}

/** A method's setting at the largest allowance up to a fraction, over its seeds; null where it cannot be so cheap. */
export function atFraction(rows: readonly RivalRow[], method: string, budget: string, fraction: number) {
  const own = rows.filter((row) => row.method === method && row.budget === budget);
  const best = allowedRows(own, fraction);
  if (best.length === 0) return null;
  return {
    macsFraction: spread(best.map((row) => row.macsFraction)).mean,
    ...spread(best.map((row) => row.accuracy)),
  };
}
