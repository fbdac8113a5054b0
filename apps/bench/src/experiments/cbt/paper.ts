import { meanOf } from "../../measuring/answers.ts";

/** Thresholds of the paper's figure for [.9, .998] on Cityscapes, by CamVid's classes; read off the figure, ± .002. */
export const PAPER_THRESHOLDS: Readonly<Record<string, number>> = {
  sky: 0.911,
  building: 0.908,
  pole: 0.949,
  road: 0.9,
  pavement: 0.918,
  tree: 0.911,
  sign: 0.935,
  fence: 0.969,
  car: 0.904,
  pedestrian: 0.927,
  bicyclist: 0.947,
};

/** Spearman's rank correlation; equal values share the mean of their ranks. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number {
  const [x, y] = [ranks(a), ranks(b)];
  const [mx, my] = [meanOf(x), meanOf(y)];
  let [xy, xx, yy] = [0, 0, 0];
  x.forEach((value, i) => {
    xy += (value - mx) * (y[i]! - my);
    xx += (value - mx) ** 2;
    yy += (y[i]! - my) ** 2;
  });
  return xy / Math.sqrt(xx * yy);
}

function ranks(values: readonly number[]): number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length;
    const equal = values.filter((other) => other === value).length;
    return below + (equal + 1) / 2;
  });
}
