import { decimal, exact, percent } from "../../report/numbers.ts";
import { type Mean, meanOf, studyMeans } from "./means.ts";
import type { EepruneResult } from "./schema.ts";

/** What the paper says, what was measured here, and what became of it. */
interface Claim {
  readonly claim: string;
  readonly paper: string;
  readonly measured: string;
  readonly status: string;
}

const NOTHING = { measured: "–", status: "not measured" };

/** Half of the training set. */
const HALF = 0.5;
/** The place of the paper's table at which most is pruned, and where the places differ most. */
const PLACES = ["before", "mid", "after"];
/** Share of a full run's energy that the brief run takes [M]. */
const PAPER_COST = "4.9 to 5.2 % of a full run's energy";
/** Epochs of a full run [D]. */
const PAPER_EPOCHS = 200;

/** The paper's claims beside this result. Its networks, data sets and lengths are others: directions are compared, not numbers. */
export function claimsOf(result: EepruneResult, means: readonly Mean[]): readonly Claim[] {
  return [
    ...[0.3, HALF].map((ratio) => againstRandom(means, ratio)),
    againstOthers(means),
    complementClaim(result, means),
    placesClaim(result),
    costClaim(result),
  ];
}

/** Source: MobileNetV3-large on CIFAR-100 [M ±.2]. */
function againstRandom(means: readonly Mean[], ratio: number): Claim {
  const claim = `EEPrune is above random, ${percent(ratio)} pruned`;
  const paper = ratio === HALF ? "70.86 and 64.7 % (50 %)" : "73.6 and 71.0 % (20 %)";
  const [ours, random] = ["eeprune", "random"].map((method) => meanOf(means, method, ratio));
  if (ours === undefined || random === undefined) return { claim, paper, ...NOTHING };
  const measured = `${exact(ours.mean)} and ${exact(random.mean)}`;
  return { claim, paper, measured, status: compared(ours.accuracies, random.accuracies) };
}

/** Source: the same figure, none but random, complexity gap, forgetting, SVP and EL2N [M]. */
function againstOthers(means: readonly Mean[]): Claim {
  const claim = "EEPrune is above all other methods, and above no pruning for as many samples, 50 % pruned";
  const paper = "70.86 %; none 69.5, random 64.7, complexity gap 63.4, forgetting 63.2, SVP 59.1, EL2N 58.7";
  const ours = meanOf(means, "eeprune", HALF);
  const others = means.filter(
    ({ method, ratio, budget }) => method !== "eeprune" && ratio === HALF && budget === "epochs",
  );
  if (ours === undefined || others.length === 0) return { claim, paper, ...NOTHING };
  const better = others.filter(({ mean }) => mean > ours.mean);
  const measured = `${exact(ours.mean)}; above ${others.length - better.length} of ${others.length} others`;
  return { claim, paper, measured, status: better.length === 0 ? "the same" : `not so: ${better.length} are better` };
}

/** Source: MobileNetV3-large, CIFAR-10, 50 % [S]. */
function complementClaim({ complement }: EepruneResult, means: readonly Mean[]): Claim {
  const claim = "What was pruned teaches less than what was kept, 50 %";
  const paper = "85.63 and 88.30 % (CIFAR-10)";
  const [pruned] = studyMeans(complement);
  const kept = meanOf(means, "eeprune", HALF);
  if (pruned === undefined || kept === undefined) return { claim, paper, ...NOTHING };
  const measured = `${exact(pruned.mean)} and ${exact(kept.mean)}`;
  return {
    claim,
    paper,
    measured,
    status: compared(
      kept.accuracies,
      complement.map(({ accuracy }) => accuracy),
    ),
  };
}

/** Source: CIFAR-100, MobileNetV3-large, 30 and 60 % [S]. */
function placesClaim({ places }: EepruneResult): Claim {
  const claim = "An exit about the middle is best, 30 and 60 % pruned";
  const paper = "before 67.66, mid 72.32, after 67.01 %; 67.59, 68.52, 67.57 %";
  const means = studyMeans(places);
  if (means.length === 0) return { claim, paper, ...NOTHING };
  const ratios = [...new Set(means.map(({ ratio }) => ratio))];
  const at = (ratio: number) =>
    PLACES.map((place) => means.find((one) => one.ratio === ratio && one.variant === place));
  const measured = ratios
    .map((ratio) =>
      at(ratio)
        .map((one) => (one === undefined ? "–" : decimal(100 * one.mean, 2)))
        .join(", "),
    )
    .join(" %; ");
  const midFirst = ratios.every((ratio) => {
    const found = at(ratio).flatMap((one) => (one === undefined ? [] : [one]));
    return found.length === PLACES.length && found.every(({ mean }) => mean <= at(ratio)[1]!.mean);
  });
  return { claim, paper, measured: `${measured} %`, status: midFirst ? "the same" : "not so" };
}

function costClaim({ brief, settings, data }: EepruneResult): Claim {
  const claim = "Choosing costs little";
  const [run] = brief.filter(({ place }) => place === "mid");
  if (run === undefined) return { claim, paper: PAPER_COST, ...NOTHING };
  const share = run.macs / (3 * settings.macs * data.train * PAPER_EPOCHS);
  const ours = run.samplesSeen / (data.train * settings.epochs);
  const measured = `${percent(share, 1)} of a run of ${PAPER_EPOCHS} epochs by multiply-accumulates; ${percent(ours)} of the samples of the ${settings.epochs} epochs here`;
  return { claim, paper: PAPER_COST, measured, status: share <= 0.06 ? "the same" : "not so" };
}

/** Whether the first is above the second for every seed. */
function compared(ours: readonly number[], others: readonly number[]): string {
  const pairs = ours.flatMap((value, seed) => (others[seed] === undefined ? [] : [value - others[seed]!]));
  const above = pairs.filter((difference) => difference > 0).length;
  const seeds = `${pairs.length} ${pairs.length === 1 ? "seed" : "seeds"}`;
  if (above === pairs.length) return `the same, for all of ${seeds}`;
  return above === 0 ? `the opposite, for all of ${seeds}` : `within the spread: for ${above} of ${seeds}`;
}
