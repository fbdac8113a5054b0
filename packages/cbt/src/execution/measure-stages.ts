import { type Session, sizeOf, type Tensor, tensor } from "@exitkit/core-gpu";
import { feedsOf, type Open, type OpenStage } from "./segment-frame.ts";

/** Milliseconds of a stage, or of all that are left, as they depend on the share of pixels going on. */
interface StageTimes {
  readonly dense: number;
  /** pixels(share) = `from` + `slope` · share. */
  readonly from: number;
  readonly slope: number;
  /** This stage and all that follow in one piece. */
  readonly rest: number;
}

/**
 * Says of each stage from which share of pixels going on what is faster: times of random masks at two shares make a line. What is left is
 * run in one piece, where `whole` allows it, from where all its stages, each with as many pixels going on as behind this exit, would take longer.
 */
export async function measureStages(open: Open, whole: boolean): Promise<void> {
  const times: StageTimes[] = [];
  for (const stage of open.stages) times.push(await timesOf(open, stage));
  open.stages.forEach((stage, index) => {
    const { dense, from, slope, rest } = times[index]!;
    stage.denseFrom = slope <= 0 ? (from < dense ? 1 : 0) : within((dense - from) / slope);
    if (!whole) return;
    const left = times.slice(index);
    const staged = (share: number) =>
      left.reduce((sum, own) => sum + Math.min(own.dense, own.from + own.slope * share), 0);
    // The sum rises with the share: the first hundredth at which it passes.
    const at = Array.from({ length: 101 }, (_, percent) => percent / 100).find((share) => staged(share) >= rest);
    stage.wholeFrom = at ?? Number.POSITIVE_INFINITY;
  });
}

const within = (share: number) => Math.min(1, Math.max(0, share));

async function timesOf(open: Open, { sessions, rest }: OpenStage): Promise<StageTimes> {
  const dense = await time(open, sessions.dense!, 0.5);
  const [little, much] = [await time(open, sessions.pixels!, 0.2), await time(open, sessions.pixels!, 0.7)];
  const slope = (much - little) / 0.5;
  const all = rest === null ? Number.POSITIVE_INFINITY : await time(open, rest.session, 0.5);
  return { dense, slope, from: little - slope * 0.2, rest: all };
}

async function time({ goingOn, network, thresholds }: Open, session: Session, share: number): Promise<number> {
  const { grid } = goingOn;
  const size = sizeOf(grid);
  const features: Record<string, Tensor> = {};
  for (const { name, shape } of session.inputs) {
    if (name.startsWith("features.")) features[name] = tensor("float32", shape as number[]);
  }
  // Every ⌈1/share⌉-th pixel would be too regular a mask: runs of eight, as masks of frames have.
  const places = Array.from({ length: size }, (_, at) => at).filter(
    (at) => (Math.floor(at / 8) * 0.618034) % 1 < share,
  );
  const before = tensor("float32", [size, network.classes]);
  const active = BigInt64Array.from(places, BigInt);
  const feeds = feedsOf(session, { features, before, thresholds: thresholds[0]!, active, grid });
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4; round++) {
    const start = performance.now();
    await session.run(feeds);
    // The first run allocates.
    if (round > 0) best = Math.min(best, performance.now() - start);
  }
  return best;
}
