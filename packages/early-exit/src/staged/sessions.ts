import { type Device, rows, type Session, sizeOf, type Tensor, tensor } from "@exitkit/core-gpu";
import type { BatchLayout } from "../exits/batch-axis.ts";
import type { ExitModel } from "../exits/exits.ts";
import type { ExitStages } from "../exits/stages.ts";
import { type Engine, keptRows, releaseAll, type StageAnswers } from "./engine.ts";

/** The straight path: one session a stage, rows that leave are taken out of every carried tensor between two runs. */
export async function openSessions(
  device: Device,
  { input, exits }: ExitModel,
  { stages, carried }: ExitStages,
  layout: BatchLayout,
): Promise<Engine> {
  const sessions: Session[] = [];
  const release = () => releaseAll(sessions);
  try {
    for (const { model } of stages) sessions.push(await device.load(model));
  } catch (error) {
    await release();
    throw error;
  }
  const pool = bufferPool(layout);

  return {
    release,
    run: async (batch, thresholds) => {
      const answers: StageAnswers[] = [];
      let alive = new Map<string, Tensor>([[input, batch]]);
      let n = batch.shape[0]!;
      for (const [j, session] of sessions.entries()) {
        const { inputs, outputs } = stages[j]!;
        const { confidence, prediction } = exits[j]!;
        const goingOn = carried[j] ?? [];
        const needed = outputs.filter((name) => name === confidence || name === prediction || goingOn.includes(name));
        // Answers are handed out, so they are never ours to overwrite.
        const pooled = needed.filter((name) => pool.holds(name) && name !== confidence && name !== prediction);
        const results = await session.run(Object.fromEntries(inputs.map((name) => [name, alive.get(name)!])), {
          outputs: needed,
          into: Object.fromEntries(pooled.map((name) => [name, pool.take(name, n)])),
        });
        const confidences = results[confidence]!.data as Float32Array;
        answers.push({ confidences, predictions: results[prediction]!.data as BigInt64Array });
        if (j === exits.length - 1) break;
        const kept = keptRows(confidences, thresholds[j]!);
        if (kept.length === 0) break;
        const next = new Map<string, Tensor>();
        for (const name of goingOn) {
          const value = results[name] ?? alive.get(name)!;
          next.set(name, kept.length === n || !layout.rowTensors.has(name) ? value : pool.compact(name, value, kept));
        }
        alive = next;
        n = kept.length;
      }
      return answers;
    },
  };
}

/** One buffer for each tensor that crosses, as large as the largest batch so far: fresh memory is slow to touch. */
function bufferPool({ rowTensors }: BatchLayout) {
  const buffers = new Map<string, Tensor>();
  const take = (name: string, n: number): Tensor => {
    let buffer = buffers.get(name);
    if (buffer === undefined || buffer.shape[0]! < n) {
      const { dtype, shape } = rowTensors.get(name)!;
      buffer = tensor(dtype, [n, ...shape]) as Tensor;
      buffers.set(name, buffer);
    }
    return rows(buffer, 0, n);
  };
  return { holds: (name: string) => rowTensors.has(name), take, compact };

  /** Moves the kept rows to the front, in place where the tensor is ours. */
  function compact(name: string, value: Tensor, kept: Int32Array): Tensor {
    const width = sizeOf(value.shape.slice(1));
    const owned = buffers.get(name)?.data.buffer === value.data.buffer;
    const target = owned ? value : (tensor(value.dtype, [kept.length, ...value.shape.slice(1)]) as Tensor);
    for (let from = 0; from < kept.length; ) {
      // Runs of neighbouring rows are moved at once.
      let to = from + 1;
      while (to < kept.length && kept[to] === kept[to - 1]! + 1) to++;
      const start = kept[from]! * width;
      const length = (to - from) * width;
      if (owned) target.data.copyWithin(from * width, start, start + length);
      else (target.data as Float32Array).set(value.data.subarray(start, start + length) as Float32Array, from * width);
      from = to;
    }
    return rows(target, 0, kept.length);
  }
}
