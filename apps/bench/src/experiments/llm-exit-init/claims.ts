import { spread } from "../../measuring/spread.ts";
import { decimal, percent } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import { PAPER, PAPER_ALPHA } from "./paper.ts";
import type { AlphaRow, Claim, LlmRow } from "./schema.ts";

const AS_SAID = "as the paper says";
const OTHERWISE = "otherwise";
const SPREAD = "within the spread";
const NOT = "not attempted";

/** How many times copying's accuracy the paper's head has before training. */
const AHEAD = PAPER.frozen.classAware[0] / PAPER.frozen.copy[0];

/** The paper's sentences, each beside what came out here on the model whose heads were trained. */
export function claimsOf(rows: readonly LlmRow[], alphas: readonly AlphaRow[]): readonly Claim[] {
  return [
    ...distinct(rows.map(({ model }) => model)).map((model) => aheadAtOnce(rows, model)),
    ...distinct(alphas.map(({ model }) => model)).map((model) => risesWithNoise(alphas, model)),
    ...trainedModels(rows).flatMap((model) => {
      const own = rows.filter((row) => row.model === model);
      return [neverBelow(own, model), bestFrozen(own, model), dropsFirst(own, model)];
    }),
  ];
}

/** Those whose heads were trained; where none was, the first one, so that what was not attempted is said. */
function trainedModels(rows: readonly LlmRow[]): readonly string[] {
  const trained = distinct(rows.filter(({ setting }) => setting !== "closed form").map(({ model }) => model));
  return trained.length > 0 ? trained : distinct(rows.map(({ model }) => model)).slice(0, 1);
}

/** 24.3 % against 5.5 % before any training. */
function aheadAtOnce(rows: readonly LlmRow[], model: string): Claim {
  const first = rows.filter((row) => row.model === model && row.setting === "closed form");
  const pairs = distinct(first.map(({ layer }) => layer)).map((layer) => {
    const of = (init: string) => first.find((row) => row.layer === layer && row.init === init)!.accuracy;
    return { layer, classAware: of("class-aware"), copy: of("copy") };
  });
  const ratios = pairs.map(({ classAware, copy }) => classAware / copy);
  const reached = ratios.filter((ratio) => ratio >= AHEAD).length;
  const some = reached > 0 ? `after ${reached} of ${ratios.length} blocks` : OTHERWISE;
  return {
    paper: `Before training the class-aware head is right ${percent(PAPER.frozen.classAware[0], 1)} of the time, ${decimal(AHEAD, 1)} × as often as the copied one (OPT-125M, WikiText-2)`,
    measured: `${model}: ${pairs.map(({ layer, classAware, copy }, index) => `after block ${layer} ${percent(classAware, 1)} against ${percent(copy, 1)} (${decimal(ratios[index]!, 1)} ×)`).join(", ")}`,
    status: reached === ratios.length ? AS_SAID : some,
  };
}

/** .243, .254, .260 as α falls. */
function risesWithNoise(alphas: readonly AlphaRow[], model: string): Claim {
  const paper = `At epoch 0 α·class-aware + (1 − α)·random is better with a smaller α: ${PAPER_ALPHA.map(([alpha, accuracy]) => `${percent(accuracy, 1)} at ${alpha}`).join(", ")}`;
  const own = alphas.filter((row) => row.model === model && row.partner === "random" && row.combineBias === "weight");
  const shown = own.filter(({ alpha }) => alpha >= 0.6).sort((a, b) => b.alpha - a.alpha);
  if (shown.length < 2) return { paper, measured: `${model}: too few α were measured`, status: NOT };
  const rises = shown.slice(1).every(({ accuracy }, index) => accuracy > shown[index]!.accuracy);
  const measured = shown.map(({ alpha, accuracy }) => `${percent(accuracy, 1)} at ${alpha}`).join(", ");
  return { paper, measured: `${model}: ${measured}`, status: rises ? AS_SAID : OTHERWISE };
}

/** Mean and deviation over seeds of the last epoch, by init. */
function lastEpoch(rows: readonly LlmRow[], setting: LlmRow["setting"]) {
  const own = rows.filter((row) => row.setting === setting);
  const epoch = Math.max(...own.map((row) => row.epoch));
  const inits = distinct(own.map(({ init }) => init));
  const found = inits.map((init) => {
    const values = own.filter((row) => row.init === init && row.epoch === epoch).map(({ accuracy }) => accuracy);
    return { init, ...spread(values) };
  });
  return { epoch, found };
}

function shown({ init, mean, deviation }: { init: string; mean: number; deviation?: number }): string {
  return `${init} ${percent(mean, 1)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, 1)}`}`;
}

function neverBelow(rows: readonly LlmRow[], model: string): Claim {
  const paper =
    "Trained with the decoder, after ten epochs mixes with the class-aware head (.6) are not below random, copied or class-aware heads";
  const { epoch, found } = lastEpoch(rows, "not frozen");
  const mixes = found.filter(({ init }) => init.includes(" + ") && init.includes("class-aware"));
  const plain = found.filter(({ init }) => ["random", "copy", "class-aware"].includes(init));
  if (mixes.length === 0 || plain.length === 0)
    return { paper, measured: `${model}: not trained with the decoder`, status: NOT };
  const worst = mixes.reduce((a, b) => (b.mean < a.mean ? b : a));
  const best = plain.reduce((a, b) => (b.mean > a.mean ? b : a));
  const noise = Math.hypot(worst.deviation ?? 0, best.deviation ?? 0);
  const below = best.mean - worst.mean;
  const status = below <= 0 ? AS_SAID : below <= noise ? SPREAD : OTHERWISE;
  return { paper, measured: `${model}, after ${epoch} epochs: ${[...plain, ...mixes].map(shown).join(", ")}`, status };
}

function bestFrozen(rows: readonly LlmRow[], model: string): Claim {
  const paper = `Heads trained alone: class-aware stays ahead of copied and random ones (${percent(0.222, 1)}, ${percent(0.187, 1)} and ${percent(0.018, 1)} after ten epochs)`;
  const { epoch, found } = lastEpoch(rows, "frozen");
  const of = (init: string) => found.find((one) => one.init === init);
  const [classAware, copy, random] = ["class-aware", "copy", "random"].map(of);
  if (classAware === undefined || copy === undefined || random === undefined) {
    return { paper, measured: `${model}: heads were not trained alone`, status: NOT };
  }
  const rival = copy.mean > random.mean ? copy : random;
  const noise = Math.hypot(classAware.deviation ?? 0, rival.deviation ?? 0);
  const ahead = classAware.mean - rival.mean;
  const status = ahead > noise ? AS_SAID : ahead >= -noise ? SPREAD : OTHERWISE;
  return {
    paper,
    measured: `${model}, after ${epoch} epochs: ${[classAware, copy, random].map(shown).join(", ")}`,
    status,
  };
}

function dropsFirst(rows: readonly LlmRow[], model: string): Claim {
  const [before, after] = PAPER.frozen.classAware;
  const paper = `Trained alone, the class-aware head first gets worse: ${percent(before, 1)}, then ${percent(after, 1)} after an epoch`;
  const own = rows.filter((row) => row.setting === "frozen" && row.init === "class-aware" && row.epoch <= 1);
  const mean = (epoch: number) => spread(own.filter((row) => row.epoch === epoch).map(({ accuracy }) => accuracy)).mean;
  if (own.length < 2) return { paper, measured: `${model}: heads were not trained alone`, status: NOT };
  const measured = `${model}: ${percent(mean(0), 1)}, then ${percent(mean(1), 1)}`;
  return { paper, measured, status: mean(1) < mean(0) ? AS_SAID : OTHERWISE };
}
