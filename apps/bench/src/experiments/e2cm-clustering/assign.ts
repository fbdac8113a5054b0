import { type Runner, training } from "@exitkit/core-gpu";
import type { Pictures } from "../../data/pictures.ts";
import { argMaxRows } from "../../measuring/answers.ts";
import { pixelDataset } from "./pixels.ts";

/** Soft assignments of all pictures, q [n·k] row by row, and the cluster each belongs to most, [n]. */
export interface Assignments {
  readonly q: Float32Array;
  readonly labels: Int32Array;
}

/** Pictures a run; larger ones are no faster. */
export const PASS_BATCH = 500;

/** Assigns pictures to clusters by a compiled `clusterProgram` with its parameters. */
export async function assign(runner: Runner, pictures: Pictures): Promise<Assignments> {
  const data = pixelDataset(pictures);
  const { scores } = await training.predict({ runner, data, batchSize: PASS_BATCH, outputs: ["scores"] });
  const [rows, k] = [scores!.data as Float32Array, scores!.shape[1]!];
  const labels = argMaxRows(rows, k);
  const q = new Float32Array(rows.length);
  labels.forEach((best, row) => {
    const own = rows.subarray(row * k, (row + 1) * k);
    const each = Array.from(own, (score) => Math.exp(score - own[best]!));
    const sum = each.reduce((all, one) => all + one, 0);
    q.set(
      each.map((one) => one / sum),
      row * k,
    );
  });
  return { q, labels };
}
