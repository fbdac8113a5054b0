import { type DatasetClaim as Claim, FAILS, HOLDS } from "../../measuring/claims.ts";
import { spread } from "../../measuring/spread.ts";
import { decimal, percent, spreadWords } from "../../report/numbers.ts";
import type { Divergence } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";
import { POSTER_FRACTIONS } from "./paper.ts";
import type { RivalRow } from "./schema.ts";
import { allowedRows } from "./series.ts";

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

/** By seed; null where nothing is random. */
type Accuracies = ReadonlyMap<number | null, number>;

/** Where one pass and one epoch are compared. */
const QUARTER = 0.25;

/** The paper's networks lose 68 and 30 points by an epoch of joint training; at least so much counts as the same. */
const COLLAPSE = 0.1;

/** What the paper says, of the data set it says it of; said of CIFAR-10 where it says nothing of another. */
const SAID = {
  ahead: {
    cifar10:
      "one pass of class means is ahead of one epoch of SDN: .80 at .23 of the cost, SDN .60 at .26 (ResNet-152)",
    kmnist: "one pass of class means is ahead of one epoch of SDN: .917 at .24 of the cost, SDN .58 at .26 (WRN-101)",
  },
  forgets: {
    cifar10: "one epoch of BranchyNet's joint training costs the network what it knew: .21 at best, the network .89",
    kmnist: "one epoch of BranchyNet's joint training costs the network what it knew: .66 at best, the network .96",
  },
  distances: { cifar10: "E²CM + SDN is ahead of SDN by 2.4, .4, .1 and 0 points at .15, .20, .25 and .30 of the cost" },
  gates: { cifar10: "E²CM + SDN is ahead of BWDS by .4, 2.3, 2.5 and 1.1 points at .15, .20, .25 and .30 of the cost" },
} as const;

/** The paper's sentences about this comparison, each judged on every data set it was measured on. */
export function claimsOf({ rows, plain, diverged }: Evidence): readonly Claim[] {
  const datasets = [...plain.keys()];
  const status = "not attempted" as const;
  const many = "BranchyNet, trained without a limit: .80 at .15, .20, .25 and .30 of the cost";
  return [
    ...datasets.flatMap(judged),
    { dataset: "cifar10", paper: many, measured: "joint training for many epochs was not run", status },
    ...(datasets.includes("kmnist")
      ? []
      : [{ dataset: "kmnist" as const, paper: SAID.ahead.kmnist, measured: "KMNIST was not measured", status }]),
  ];

  function judged(dataset: RivalDataset): readonly Claim[] {
    const claim = (about: keyof typeof SAID, found: Pick<Claim, "measured" | "status">): Claim => {
      const said: Partial<Record<RivalDataset, string>> = SAID[about];
      return { dataset, paper: said[dataset] ?? `of CIFAR-10: ${said.cifar10}`, ...found };
    };
    const against = (first: Entry, second: Entry, fractions: readonly number[]) =>
      verdict(rows, dataset, first, second, fractions);
    const at = (method: string) => shown(accuraciesAt(rows, dataset, [method, "one epoch"], QUARTER));
    const [distances, shared] = ["e2cm-sdn", "e2cm-sdn-shared"].map((method) =>
      against([method, "unlimited"], ["sdn", "unlimited"], POSTER_FRACTIONS),
    );
    const beside = shared!.status === status ? "" : `; with distances by a shared covariance ${shared!.measured}`;
    const gates = against(["e2cm-sdn", "unlimited"], ["bwds", "unlimited"], POSTER_FRACTIONS);
    return [
      claim("ahead", {
        measured: `at .25: class means ${at("e2cm-euclidean")}, with a shared covariance ${at("e2cm")}, SDN ${at("sdn")}`,
        status: against(["e2cm-euclidean", "one epoch"], ["sdn", "one epoch"], [QUARTER]).status,
      }),
      claim("forgets", forgets(dataset)),
      // Judged are the paper's distances; the others are shown beside.
      claim("distances", { measured: `${distances!.measured}${beside}`, status: distances!.status }),
      claim("gates", {
        measured: gates.status === status ? gates.measured : `${gates.measured} (gates as reconstructed)`,
        status: gates.status,
      }),
    ];
  }

  /** One epoch of joint training costs the backbone what it knew. */
  function forgets(dataset: RivalDataset): Pick<Claim, "measured" | "status"> {
    const best = new Map<number | null, number>();
    for (const row of rows) {
      if (row.dataset !== dataset || row.method !== "branchynet" || row.askedFraction === null) continue;
      best.set(row.seed, Math.max(best.get(row.seed) ?? 0, row.accuracy));
    }
    const full = plain.get(dataset)!;
    const lost = diverged.filter((one) => one.dataset === dataset && one.method === "branchynet").length;
    const seeds = lost === 0 ? "" : `; diverged with ${lost} seeds`;
    const holds = best.size > 0 && full - spread([...best.values()]).mean >= COLLAPSE;
    return {
      measured: `at best ${shown(best)}, the network ${asKept(percent(full, 1))}${seeds}`,
      status: best.size === 0 ? status : holds ? HOLDS : FAILS,
    };
  }
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
    const differences = paired(
      accuraciesAt(rows, dataset, first, fraction),
      accuraciesAt(rows, dataset, second, fraction),
    );
    return differences.length === 0 ? null : spread(differences);
  });
  const known = gains.flatMap((gain) => gain ?? []);
  const texts = gains.map((gain) => (gain === null ? "–" : points(gain)));
  const measured = `ahead by ${texts.join(", ")} points${known.length < gains.length ? " (–: one of them costs more)" : ""}`;
  const beyond = (sign: number) => known.some(({ mean, deviation }) => sign * mean > (deviation ?? 0));
  if (known.length === 0) return { measured, status: "cannot be so cheap" };
  return { measured, status: beyond(-1) ? FAILS : beyond(1) ? HOLDS : "within the spread" };
}

/** Differences of the seeds that both have; what has no seed stands beside every one. */
function paired(own: Accuracies, other: Accuracies): readonly number[] {
  return [...(own.has(null) ? other : own).keys()].flatMap((seed) => {
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
): Accuracies {
  return new Map(
    allowedRows(rows, { dataset, method, budget }, fraction).map(({ seed, accuracy }) => [seed, accuracy]),
  );
}

function shown(accuracies: Accuracies): string {
  return accuracies.size === 0 ? "not that cheap" : asKept(spreadWords(spread([...accuracies.values()]), 1));
}

function points({ mean, deviation }: ReturnType<typeof spread>): string {
  return `${decimal(100 * mean, 1)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 1)}`}`;
}

/** As result.json holds it: with ordinary spaces. */
function asKept(text: string): string {
  return text.replaceAll("\u00a0", " ");
}
