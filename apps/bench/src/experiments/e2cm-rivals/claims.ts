import { type DatasetClaim as Claim, FAILS, HOLDS } from "../../measuring/claims.ts";
import { spread } from "../../measuring/spread.ts";
import { decimal, percent, spreadWords } from "../../report/numbers.ts";
import { allowedRows } from "./allowance.ts";
import type { Divergence } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";
import { POSTER_FRACTIONS } from "./paper.ts";
import type { RivalRow } from "./schema.ts";

/** What claims are judged by. */
interface Evidence {
  /** Frontiers; timed settings, of fewer pictures, are passed over. */
  readonly rows: readonly RivalRow[];
  /** The plain networks' accuracies on all test pictures. */
  readonly plain: ReadonlyMap<RivalDataset, number>;
  readonly diverged: readonly (Divergence & { readonly dataset: RivalDataset })[];
}

/** A method with its budget. */
type Entry = readonly [method: string, budget: string];

/** Where one pass and one epoch are compared. */
const QUARTER = 0.25;

/** The paper's networks lose 68 and 30 points by an epoch of joint training; at least so much counts as the same. */
const COLLAPSE = 0.1;

/** The paper's sentences about this comparison, each judged on every data set it was measured on. */
export function claimsOf(evidence: Evidence): readonly Claim[] {
  const datasets = [...evidence.plain.keys()];
  const judged = datasets.flatMap((dataset) => [
    aheadOfSdn(evidence, dataset),
    branchyNetForgets(evidence, dataset),
    distancesHelp(evidence, dataset),
    aheadOfGates(evidence, dataset),
  ]);
  const status = "not attempted" as const;
  return [
    ...judged,
    {
      dataset: "cifar10",
      paper: "BranchyNet, trained without a limit: .80 at .15, .20, .25 and .30 of the cost",
      measured: "joint training for many epochs was not run",
      status,
    },
    ...(datasets.includes("kmnist")
      ? []
      : [{ dataset: "kmnist" as const, paper: FIRST.kmnist, measured: "KMNIST was not measured", status }]),
  ];
}

const FIRST = {
  cifar10: "one pass of class means is ahead of one epoch of SDN: .80 at .23 of the cost, SDN .60 at .26 (ResNet-152)",
  kmnist: "one pass of class means is ahead of one epoch of SDN: .917 at .24 of the cost, SDN .58 at .26 (WRN-101)",
} as const;

const FORGETS = {
  cifar10: "one epoch of BranchyNet's joint training costs the network what it knew: .21 at best, the network .89",
  kmnist: "one epoch of BranchyNet's joint training costs the network what it knew: .66 at best, the network .96",
} as const;

/** One pass of class means against one epoch of internal classifiers, at a quarter of the cost. */
function aheadOfSdn({ rows }: Evidence, dataset: RivalDataset): Claim {
  const at = (method: string) => shown(accuraciesAt(rows, dataset, [method, "one epoch"], QUARTER));
  return {
    dataset,
    paper: saidOf(dataset, FIRST),
    measured: `at .25: class means ${at("e2cm-euclidean")}, with a shared covariance ${at("e2cm")}, SDN ${at("sdn")}`,
    status: verdict(rows, dataset, ["e2cm-euclidean", "one epoch"], ["sdn", "one epoch"], [QUARTER]).status,
  };
}

/** One epoch of joint training costs the backbone what it knew. */
function branchyNetForgets({ rows, plain, diverged }: Evidence, dataset: RivalDataset): Claim {
  const best = new Map<number | null, number>();
  for (const row of rows) {
    if (row.dataset !== dataset || row.method !== "branchynet" || row.askedFraction === null) continue;
    best.set(row.seed, Math.max(best.get(row.seed) ?? 0, row.accuracy));
  }
  const full = plain.get(dataset)!;
  const lost = diverged.filter((one) => one.dataset === dataset && one.method === "branchynet").length;
  const measured = `at best ${shown(best)}, the network ${asKept(percent(full, 1))}${lost === 0 ? "" : `; diverged with ${lost} seeds`}`;
  const holds = best.size > 0 && full - spread([...best.values()]).mean >= COLLAPSE;
  return {
    dataset,
    paper: saidOf(dataset, FORGETS),
    measured,
    status: best.size === 0 ? "not attempted" : holds ? HOLDS : FAILS,
  };
}

/** Distances as further inputs help where little may be computed. Judged are the paper's; the others are shown beside. */
function distancesHelp({ rows }: Evidence, dataset: RivalDataset): Claim {
  const of = (method: string) => verdict(rows, dataset, [method, "unlimited"], ["sdn", "unlimited"], POSTER_FRACTIONS);
  const [found, shared] = [of("e2cm-sdn"), of("e2cm-sdn-shared")];
  const paper = "E²CM + SDN is ahead of SDN by 2.4, .4, .1 and 0 points at .15, .20, .25 and .30 of the cost";
  const beside = shared.status === "not attempted" ? "" : `; with distances by a shared covariance ${shared.measured}`;
  return {
    dataset,
    paper: saidOf(dataset, { cifar10: paper }),
    measured: `${found.measured}${beside}`,
    status: found.status,
  };
}

/** The same against learned gates. */
function aheadOfGates({ rows }: Evidence, dataset: RivalDataset): Claim {
  const found = verdict(rows, dataset, ["e2cm-sdn", "unlimited"], ["bwds", "unlimited"], POSTER_FRACTIONS);
  const paper = "E²CM + SDN is ahead of BWDS by .4, 2.3, 2.5 and 1.1 points at .15, .20, .25 and .30 of the cost";
  const measured = found.status === "not attempted" ? found.measured : `${found.measured} (gates as reconstructed)`;
  return { dataset, paper: saidOf(dataset, { cifar10: paper }), measured, status: found.status };
}

/** A sentence of the paper, with the data set it is about where it says nothing of this one. */
function saidOf(
  dataset: RivalDataset,
  said: { readonly cifar10: string } & Partial<Record<RivalDataset, string>>,
): string {
  return said[dataset] ?? `of CIFAR-10: ${said.cifar10}`;
}

/** By how much the first is ahead of the second at some fractions of the cost, and whether by more than the spread. */
function verdict(
  rows: readonly RivalRow[],
  dataset: RivalDataset,
  first: Entry,
  second: Entry,
  fractions: readonly number[],
): Pick<Claim, "measured" | "status"> {
  const ran = [first, second].every(([method, budget]) =>
    rows.some((row) => row.dataset === dataset && row.method === method && row.budget === budget),
  );
  if (!ran) return { measured: "not run", status: "not attempted" };
  const gains = fractions.map((fraction) => {
    const [own, other] = [first, second].map((entry) => accuraciesAt(rows, dataset, entry, fraction));
    const differences = paired(own!, other!);
    return differences.length === 0 ? null : spread(differences);
  });
  const known = gains.flatMap((gain) => gain ?? []);
  const texts = gains.map((gain) => (gain === null ? "–" : points(gain)));
  const measured = `ahead by ${texts.join(", ")} points${known.length < gains.length ? " (–: one of them costs more)" : ""}`;
  const beyond = (sign: number) => known.some(({ mean, deviation }) => sign * mean > (deviation ?? 0));
  if (known.length === 0) return { measured, status: "cannot be so cheap" };
  return {
    measured,
    status: beyond(-1) ? FAILS : beyond(1) ? HOLDS : "within the spread",
  };
}

/** Differences of the seeds that both have; what has no seed stands beside every one. */
function paired(own: ReadonlyMap<number | null, number>, other: ReadonlyMap<number | null, number>): readonly number[] {
  const seeds = [...(own.has(null) ? other : own).keys()];
  return seeds.flatMap((seed) => {
    const [a, b] = [own, other].map((values) => values.get(seed) ?? values.get(null));
    return a === undefined || b === undefined ? [] : [a - b];
  });
}

/** Of every seed the accuracy at the largest allowance up to `fraction`; none where the method cannot be so cheap. */
export function accuraciesAt(
  rows: readonly RivalRow[],
  dataset: RivalDataset,
  [method, budget]: Entry,
  fraction: number,
): ReadonlyMap<number | null, number> {
  const own = rows.filter((row) => row.dataset === dataset && row.method === method && row.budget === budget);
  return new Map(allowedRows(own, fraction).map(({ seed, accuracy }) => [seed, accuracy]));
}

function shown(accuracies: ReadonlyMap<number | null, number>): string {
  return accuracies.size === 0 ? "not that cheap" : asKept(spreadWords(spread([...accuracies.values()]), 1));
}

function points({ mean, deviation }: ReturnType<typeof spread>): string {
  return `${decimal(100 * mean, 1)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 1)}`}`;
}

/** As result.json holds it: with ordinary spaces. */
function asKept(text: string): string {
  return text.replaceAll("\u00a0", " ");
}
