import type { RivalDataset } from "./datasets.ts";
import type { RivalRow, WithinRow } from "./frontiers.ts";

/** Cost fractions of the poster's table. */
export const POSTER_FRACTIONS: readonly number[] = [0.15, 0.2, 0.25, 0.3];

/**
 * The poster's table: accuracy at those fractions of the FLOPs, ResNet-152 on CIFAR-10. Its network and its counter of FLOPs
 * are others than ours. Source: ijcnn_poster.pdf [S].
 */
export const POSTER: readonly { readonly method: string; readonly accuracies: readonly number[] }[] = [
  { method: "e2cm-sdn", accuracies: [0.824, 0.864, 0.885, 0.888] },
  { method: "sdn", accuracies: [0.8, 0.86, 0.884, 0.888] },
  { method: "bwds", accuracies: [0.82, 0.841, 0.86, 0.877] },
  { method: "branchynet", accuracies: [0.8, 0.8, 0.8, 0.8] },
];

/**
 * Points (fraction of the FLOPs, accuracy) of the one-epoch figure, read from its pixels to ± .005. Source: slide 19 [M].
 */
export const FIGURE: readonly {
  readonly dataset: RivalDataset;
  readonly network: string;
  readonly method: string;
  readonly points: readonly (readonly [number, number])[];
}[] = [
  {
    dataset: "cifar10",
    network: "ResNet-152",
    method: "e2cm-euclidean",
    points: [
      [0.07, 0.3],
      [0.08, 0.4],
      [0.095, 0.47],
      [0.12, 0.56],
      [0.23, 0.8],
      [0.3, 0.866],
      [0.36, 0.879],
      [0.52, 0.887],
      [0.6, 0.889],
      [0.99, 0.895],
    ],
  },
  {
    dataset: "cifar10",
    network: "ResNet-152",
    method: "sdn",
    points: [
      [0.16, 0.36],
      [0.18, 0.41],
      [0.26, 0.6],
      [0.42, 0.825],
      [0.49, 0.846],
      [0.6, 0.885],
      [1, 0.89],
    ],
  },
  {
    dataset: "cifar10",
    network: "ResNet-152",
    method: "branchynet",
    points: [
      [0.31, 0.13],
      [0.4, 0.15],
      [1.01, 0.19],
      [1.1, 0.2],
      [1.29, 0.21],
    ],
  },
  {
    dataset: "kmnist",
    network: "WRN-101",
    method: "e2cm-euclidean",
    points: [
      [0.01, 0.41],
      [0.04, 0.52],
      [0.19, 0.864],
      [0.24, 0.917],
      [0.41, 0.954],
      [1, 0.96],
    ],
  },
  {
    dataset: "kmnist",
    network: "WRN-101",
    method: "sdn",
    points: [
      [0.19, 0.36],
      [0.26, 0.58],
      [0.39, 0.78],
      [0.45, 0.85],
      [0.58, 0.916],
      [0.65, 0.923],
      [0.69, 0.925],
      [1, 0.96],
    ],
  },
  {
    dataset: "kmnist",
    network: "WRN-101",
    method: "branchynet",
    points: [
      [0.16, 0.65],
      [1.16, 0.66],
    ],
  },
];

/** A sentence of the paper beside what came out here. */
export interface Claim {
  readonly dataset: RivalDataset;
  readonly paper: string;
  readonly measured: string;
  /** "as the paper says", "otherwise" or "not attempted". */
  readonly status: "as the paper says" | "otherwise" | "not attempted";
}

/** What claims are judged by. */
interface Evidence {
  readonly rows: readonly RivalRow[];
  readonly within: readonly WithinRow[];
  /** The plain networks' accuracies on all test pictures. */
  readonly plain: ReadonlyMap<RivalDataset, number>;
}

/** The paper's sentences about this comparison, each judged on every data set it was measured on. */
export function claimsOf(evidence: Evidence): readonly Claim[] {
  const datasets: readonly RivalDataset[] = [...evidence.plain.keys()];
  const judged = datasets.flatMap((dataset) => [
    aheadOfSdn(evidence, dataset),
    branchyNetForgets(evidence, dataset),
    combined(evidence, dataset),
  ]);
  const kmnist: readonly Claim[] = datasets.includes("kmnist")
    ? []
    : [
        {
          dataset: "kmnist",
          paper: "WRN-101, one epoch, at .24 to .26 of the cost: E²CM .917, SDN .58; BranchyNet .65 at any cost",
          measured: "KMNIST was not measured",
          status: "not attempted",
        },
      ];
  return [...judged, ...kmnist];
}

/** One pass of class means against one epoch of internal classifiers, at a quarter of the cost. */
function aheadOfSdn({ rows }: Evidence, dataset: RivalDataset): Claim {
  const at = (method: string) => accuracyAt(rows, dataset, method, "one epoch", 0.25);
  const [means, shared, sdn] = [at("e2cm-euclidean"), at("e2cm"), at("sdn")];
  const paper = "one pass of class means is ahead of one epoch of SDN at a quarter of the cost (.80 against .60)";
  const measured = `class means ${shown(means)}, with a shared covariance ${shown(shared)}, SDN ${shown(sdn)}`;
  return { dataset, paper, measured, status: status(means !== null && sdn !== null, () => means! > sdn!) };
}

/** One epoch of joint training costs the backbone what it knew. */
function branchyNetForgets({ rows, plain }: Evidence, dataset: RivalDataset): Claim {
  const own = rows.filter((row) => row.dataset === dataset && row.method === "branchynet");
  const best = own.length === 0 ? null : Math.max(...own.map(({ accuracy }) => accuracy));
  const full = plain.get(dataset)!;
  return {
    dataset,
    paper: "one epoch of BranchyNet's joint training never reaches the plain network at any cost (.21 against .89)",
    measured: `at best ${shown(best)}, plain network ${shown(full)}`,
    status: status(best !== null, () => best! < full - 0.01),
  };
}

/** Distances as further inputs help where little may be computed. */
function combined({ rows }: Evidence, dataset: RivalDataset): Claim {
  const of = (method: string) =>
    POSTER_FRACTIONS.map((fraction) => accuracyAt(rows, dataset, method, "unlimited", fraction));
  const [both, alone] = [of("e2cm-sdn"), of("sdn")];
  const gains = both.flatMap((value, index) => {
    const other = alone[index]!;
    return value === null || other === null ? [] : [value - other];
  });
  return {
    dataset,
    paper: "E²CM + SDN is at least as accurate as SDN at .15 to .30 of the cost (gains of 2.4, .4, .1 and 0 points)",
    measured:
      gains.length === 0
        ? "neither reaches such costs"
        : `gains of ${gains.map((gain) => (100 * gain).toFixed(1).replace("-", "−")).join(", ")} points`,
    status: status(gains.length > 0, () => gains.every((gain) => gain >= -0.001)),
  };
}

/** Mean accuracy over the seeds at the largest allowance up to `fraction`; null where the method cannot be so cheap. */
export function accuracyAt(
  rows: readonly RivalRow[],
  dataset: RivalDataset,
  method: string,
  budget: string,
  fraction: number,
): number | null {
  const own = rows.filter(
    (row) =>
      row.dataset === dataset &&
      row.method === method &&
      row.budget === budget &&
      row.askedFraction !== null &&
      row.askedFraction <= fraction + 1e-9,
  );
  const best = new Map<number | null, RivalRow>();
  for (const row of own) {
    const known = best.get(row.seed);
    if (known === undefined || row.askedFraction! > known.askedFraction!) best.set(row.seed, row);
  }
  const found = [...best.values()];
  return found.length === 0 ? null : found.reduce((sum, { accuracy }) => sum + accuracy / found.length, 0);
}

function status(measured: boolean, holds: () => boolean): Claim["status"] {
  if (!measured) return "not attempted";
  return holds() ? "as the paper says" : "otherwise";
}

function shown(accuracy: number | null): string {
  return accuracy === null ? "not that cheap" : `${(100 * accuracy).toFixed(1)} %`;
}
