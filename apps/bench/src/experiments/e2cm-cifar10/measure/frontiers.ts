import { generator } from "@exitkit/core-gpu";
import { type ExitCosts, type ExitRecord, replay, searchThresholds, selectRows } from "@exitkit/early-exit";
import { meanOf } from "../../../measuring/answers.ts";
import { halfRows } from "../../../measuring/halves.ts";
import { type Choice, chooseOn, inHalves, merged, thresholdsFor } from "../../../measuring/halvings.ts";
import { inStage } from "../../../measuring/steps.ts";
import type { FrontierRow } from "../schema.ts";
import { type Method, recordsOf, rulesOf } from "./methods.ts";
import type { Subject } from "./subject.ts";

/** Accuracy losses that are asked for; 0.005 is half a point. */
const WANTED_LOSSES = [0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3];

/** Accuracy against MACs of a method by each of its rules: thresholds chosen as the paper does, guarded, and aimed at a loss. */
export function frontierRows(subject: Subject, method: Method): readonly FrontierRow[] {
  const { context, backbone, settings } = subject;
  const { metric, variant } = method;
  const { costs } = method.fits[0]!.fitted;
  return rulesOf(method).flatMap((rule) => {
    const label = { backbone: backbone.name, metric, rule, variant };
    const test = recordsOf(method, "test", rule);
    const train = recordsOf(method, "train", rule);
    // The paper searches at random; for exits without many thresholds there is a better way.
    const known = chooseOn(train, costs, wholeOf(train[0]!), generator(context.seed));
    const search = { draws: settings.draws, random: generator(context.seed) };
    const points = metric === "euclidean" ? searchThresholds(train[0]!, costs, search) : known.aimed;
    const paper = points.map(({ thresholds }) => {
      const { accuracy, costFraction, shares } = replay(merged(test, known.candidates), thresholds, costs);
      return { ...label, choice: "paper" as const, macsFraction: costFraction, accuracy, shares, wantedLoss: null };
    });
    return [...paper, ...soundRows(label, test, costs, context.seed)];
  });
}

function wholeOf({ n }: ExitRecord): Int32Array {
  return Int32Array.from({ length: n }, (_, row) => row);
}

/**
 * For every loss the thresholds that each half of the test pictures chooses, replayed on the other half; accuracy, cost and shares are
 * means over the two ways round, so every test picture counts once.
 */
function soundRows(
  label: Pick<FrontierRow, "backbone" | "metric" | "rule" | "variant">,
  records: readonly ExitRecord[],
  costs: ExitCosts,
  seed: number,
): readonly FrontierRow[] {
  const [first, second] = halfRows(records[0]!.n);
  const ways = [
    [first, second],
    [second, first],
  ].map(([calibration, report]) => {
    const chosen = chooseOn(records, costs, calibration!, generator(seed));
    return { chosen, report: selectRows(merged(records, chosen.candidates), report!) };
  });
  return (["guarded", "aimed"] satisfies Choice[]).flatMap((choice) =>
    WANTED_LOSSES.map((wantedLoss) => {
      const replays = ways.map(({ chosen, report }) =>
        replay(report, thresholdsFor(chosen, choice, wantedLoss), costs),
      );
      return {
        ...label,
        choice,
        macsFraction: meanOf(replays.map(({ costFraction }) => costFraction)),
        accuracy: meanOf(replays.map(({ accuracy }) => accuracy)),
        shares: replays[0]!.shares.map((_, exit) => meanOf(replays.map(({ shares }) => shares[exit]!))),
        wantedLoss,
      };
    }),
  );
}

/** How often the promise fails in random halvings of the test pictures: of the package's default, and of the paper's class means. */
export async function halvingRows({ context, backbone, settings, key }: Subject, methods: readonly Method[]) {
  const { run, progress, seed } = context;
  const rows = [];
  for (const method of methods.filter(({ variant }) => ["moments", "full"].includes(variant))) {
    const { metric, variant, fits } = method;
    const [rule] = rulesOf(method);
    const own = await run.step(key(`halvings-${metric}`), () =>
      inStage(progress, `${backbone.name}: halvings, ${metric}`, settings.halvings, "halvings", (advance) => {
        const records = recordsOf(method, "test", rule);
        return inHalves(records, fits[0]!.fitted.costs, settings.halvings, generator(seed), () => advance(1));
      }),
    );
    rows.push(...own.map((row) => ({ backbone: backbone.name, metric, variant, ...row })));
  }
  return rows;
}
