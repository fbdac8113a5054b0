import { meanOf } from "../../measuring/answers.ts";
import { type Claim, FAILS, HOLDS } from "../../measuring/claims.ts";
import { spread } from "../../measuring/spread.ts";
import { decimal, percent } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import type { CurveRow, ExitRow, LayerRow, Order } from "./schema.ts";

/** What claims are judged by. */
interface Evidence {
  readonly rows: readonly ExitRow[];
  readonly curves: readonly CurveRow[];
  readonly layers: readonly LayerRow[];
}

/** The paper's sentences beside what came out. */
export function claimsOf(evidence: Evidence): readonly Claim[] {
  return [
    earlyExits(evidence),
    deepestExit(evidence),
    saving(evidence),
    headSparsity(evidence),
    firstConvolution(evidence),
  ];
}

const seedsOf = (rows: readonly { readonly seed: number }[]) => distinct(rows.map(({ seed }) => seed));

const NOT_ATTEMPTED = { measured: "both orders were not measured", status: "not attempted" } as const;

/** One number a seed, together minus sequential; larger is what the paper says. */
function judged(paper: string, differences: readonly number[], words: (mean: string) => string): Claim {
  if (differences.length === 0) return { paper, ...NOT_ATTEMPTED };
  const { mean, deviation } = spread(differences);
  const of = `${decimal(100 * mean, 1)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 1)}`} points`;
  const seeds = `${differences.length} ${differences.length === 1 ? "seed" : "seeds"}`;
  return { paper, measured: `${words(of)} (${seeds})`, status: statusOf(differences) };
}

/** Whether a number that the paper says is above 0 is, over the seeds. */
function statusOf(values: readonly number[]): Claim["status"] {
  const { mean, deviation } = spread(values);
  if (deviation !== undefined && Math.abs(mean) <= deviation) return "within the spread";
  return mean > 0 ? HOLDS : FAILS;
}

function accuracies(rows: readonly ExitRow[], order: Order, seed: number): readonly number[] {
  return rows.filter((row) => row.order === order && row.seed === seed).map(({ accuracy }) => accuracy);
}

function differencesAt(rows: readonly ExitRow[], of: (exits: readonly number[]) => number): readonly number[] {
  return seedsOf(rows).flatMap((seed) => {
    const [together, sequential] = [accuracies(rows, "together", seed), accuracies(rows, "sequential", seed)];
    return together.length === 0 || sequential.length === 0 ? [] : [of(together) - of(sequential)];
  });
}

function earlyExits({ rows }: Evidence): Claim {
  const paper = "Pruned together, the early exits are more accurate than in order: .61 … .86 against .55 … .85";
  return judged(
    paper,
    differencesAt(rows, (exits) => meanOf(exits.slice(0, -1))),
    (by) => `mean over the early exits, together minus in order: ${by}`,
  );
}

function deepestExit({ rows }: Evidence): Claim {
  const paper = "In order wins at the deepest exit: .879 against .824";
  return judged(
    paper,
    differencesAt(rows, (exits) => -exits.at(-1)!),
    (by) => `last exit, in order minus together: ${by}`,
  );
}

/** What the paper saves at most; a third of it is something else. */
const SAVED = 0.15;
const MUCH_LESS = 1 / 3;

/** The largest share of the cost that together saves at an accuracy which both reach. */
function saving({ curves }: Evidence): Claim {
  const paper = "Together saves up to 15 % of the computation at equal accuracy";
  const found = seedsOf(curves).flatMap((seed) => {
    const of = (order: Order) => curves.filter((row) => row.order === order && row.seed === seed);
    const [together, sequential] = [of("together"), of("sequential")];
    if (together.length === 0 || sequential.length === 0) return [];
    const shares = sequential.flatMap(({ accuracy, macsFraction }) => {
      const cheapest = Math.min(...together.filter((row) => row.accuracy >= accuracy).map((row) => row.macsFraction));
      return Number.isFinite(cheapest) ? [1 - cheapest / macsFraction] : [];
    });
    return shares.length === 0 ? [] : [Math.max(...shares)];
  });
  if (found.length === 0) return { paper, ...NOT_ATTEMPTED };
  const { mean: average, deviation } = spread(found);
  const within = deviation === undefined ? "" : ` ± ${percent(deviation)}`;
  return {
    paper,
    measured: `at most ${percent(average)}${within} saved, mean over ${found.length} ${found.length === 1 ? "seed" : "seeds"}`,
    status: average >= MUCH_LESS * SAVED ? statusOf(found) : FAILS,
  };
}

/** Sparsity of some layers together, by order and seed. */
function sparsity(layers: readonly LayerRow[], order: Order, seed: number, isMeant: (path: string) => boolean) {
  const own = layers.filter((row) => row.order === order && row.seed === seed && isMeant(row.path));
  const size = own.reduce((sum, row) => sum + row.size, 0);
  return own.reduce((sum, row) => sum + row.sparsity * row.size, 0) / size;
}

function headSparsity({ layers }: Evidence): Claim {
  const paper = "In order leaves the exits' linear layers sparser than together: by .10 to .17";
  const isHead = (path: string) => path.startsWith("exits.");
  const found = seedsOf(layers)
    .map((seed) => sparsity(layers, "sequential", seed, isHead) - sparsity(layers, "together", seed, isHead))
    .filter((value) => !Number.isNaN(value));
  return judged(paper, found, (by) => `sparsity of the exits, in order minus together: ${by}`);
}

const isFirst = (path: string) => /^backbone\.(weights\.)?conv1\.weight$/.test(path);

function firstConvolution({ layers }: Evidence): Claim {
  const paper = "Shortcuts and the first convolution are pruned least (about .27 to .45)";
  const own = layers.filter(({ order }) => order === "together");
  const first = own.filter(({ path }) => isFirst(path));
  if (first.length === 0) return { paper, ...NOT_ATTEMPTED };
  const others = own.filter(({ path }) => /conv\d\.weight$/.test(path) && !isFirst(path));
  const [one, rest] = [meanOf(first.map((row) => row.sparsity)), others.map((row) => row.sparsity)];
  const least = Math.min(...rest);
  return {
    paper,
    measured: `first convolution ${decimal(one, 2)}, the others ${decimal(least, 2)} to ${decimal(Math.max(...rest), 2)}; shortcuts have no weights here`,
    status: one <= least ? HOLDS : FAILS,
  };
}
