import type { Device } from "@exitkit/core-gpu";
import {
  accumulateDecoder,
  cutWindows,
  heads,
  judgeHeads,
  mergeTokens,
  readTap,
  type TokenRows,
  type TokenStatistics,
  takeRows,
} from "@exitkit/llm-exit-init";
import type { Context } from "../experiment.ts";
import { bordered, type FirstHeads, tapOf } from "./epoch-zero.ts";
import type { ShiftRow } from "./schema.ts";
import type { Plan } from "./settings.ts";
import type { Subject } from "./subject.ts";
import { trainAlone } from "./training.ts";

/**
 * The thesis' open question in small: a head was made of general text, and the model is now used on requests. Is the head better left as it
 * is, made anew from as many tokens of requests as there are, made from both, or trained on them?
 */
export async function measureShift(
  context: Context,
  device: Device,
  subject: Subject,
  plan: Plan,
  first: FirstHeads,
  general: { readonly raw: TokenStatistics; readonly normed: TokenStatistics },
  seed: number,
): Promise<readonly ShiftRow[]> {
  const { shift, layer } = plan;
  const { shifted, decoder, name } = subject;
  if (shift === null || shifted === null) return [];
  const tap = tapOf(layer);
  const { output } = decoder;
  const { vocabulary } = decoder.config;
  const border = bordered(subject.border);
  const judge = async (given: readonly heads.TokenHead[]) =>
    judgeHeads(device, given, readTap(device, decoder, shifted.test, tap), { output, ...border });
  const row = (
    head: { readonly name: string; readonly accuracy: number; readonly crossEntropy: number },
    full: number,
    how: Pick<ShiftRow, "init" | "way" | "tokens" | "epochs" | "seconds">,
  ): ShiftRow => ({
    ...{ model: name, layer, accuracy: head.accuracy, crossEntropy: head.crossEntropy, full },
    ...how,
  });
  return context.run.step(`${name}-shift`, async () => {
    const rows: ShiftRow[] = [];
    const calibration = await takeRows(readTap(device, decoder, shifted.calibration, tap), { vocabulary, ...border });
    const asItWas = [first.copy, first.normedCopy, first.classAware, first.best];
    const before = await judge(asItWas);
    const full = before.full.accuracy;
    before.heads.forEach((score) => {
      rows.push(row(score, full, { init: score.name, way: "as it was", tokens: 0, epochs: 0, seconds: 0 }));
    });
    const stage = context.progress.stage(`${name}: text of another kind`, shift.tokens.length, "sizes");
    for (const tokens of shift.tokens) {
      const windows = cutWindows(shifted.fit.slice(0, tokens), plan.window);
      const begun = performance.now();
      const [raw, normed] = (await accumulateDecoder(device, decoder, windows, {
        exits: [{ tap }, { tap, norm: "final" }],
        ...border,
      })) as [TokenStatistics, TokenStatistics];
      const anew = await headsOf(device, raw, normed, output, calibration);
      const seconds = (performance.now() - begun) / 1000;
      const merged = [mergeTokens(general.raw, raw), mergeTokens(general.normed, normed)] as const;
      const both = await headsOf(device, ...merged, output, calibration);
      for (const [way, made] of [
        ["made anew", anew],
        ["merged", both],
      ] as const) {
        const { heads: scores } = await judge(made);
        for (const score of scores) rows.push(row(score, full, { init: score.name, way, tokens, epochs: 0, seconds }));
      }
      const old = [first.classAware, first.calibrated, first.best];
      const start = performance.now();
      const trained = await trainAlone(context, device, subject, plan, old, {
        ...{ key: `${name}-shift${tokens}`, tokens: shifted.fit.slice(0, tokens), judged: shifted.test.tokens },
        ...{ epochs: shift.epochs, seed },
      });
      const spent = (performance.now() - start) / 1000;
      for (const { init, epoch, ...score } of trained) {
        if (epoch !== shift.epochs) continue;
        rows.push(row({ name: init, ...score }, full, { init, way: "trained", tokens, epochs: epoch, seconds: spent }));
      }
      stage.advance(1);
    }
    stage.done();
    return rows;
  });
}

async function headsOf(
  device: Device,
  raw: TokenStatistics,
  normed: TokenStatistics,
  output: Subject["decoder"]["output"],
  calibration: TokenRows,
): Promise<readonly heads.TokenHead[]> {
  return [heads.classAware(raw), await heads.mapAndClasses(device, normed, output, calibration)];
}
