import { type Device, rows, type Session, type Tensor, tensor } from "@exitkit/core-gpu";
import { type ExitModel, openStaged } from "@exitkit/early-exit";
import { oneBatch } from "../../data/batches.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { quantile, type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";

/** Something that answers pictures. */
export interface Timed {
  readonly name: string;
  readonly normalisation: Normalisation;
  readonly network:
    | { readonly model: ExitModel["model"]; readonly input: string }
    | { readonly exits: ExitModel; readonly thresholds: readonly number[] };
}

/** How long it took. */
export interface Wall {
  readonly name: string;
  readonly wallFraction: number;
  readonly wallFraction1: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Milliseconds a picture. */
  readonly ms64: number;
  readonly ms1: number;
  /** Of a plain network, milliseconds that a batch takes however few pictures it has: a line through batches of 64 and of 8. */
  readonly callMs: number | null;
}

const BATCH = 64;
const FEW = 8;

/**
 * Times all in turn on the same pictures, in batches of 64 and one by one; the first of the list is what the others are
 * compared with.
 *
 * @param singles Pictures timed one by one.
 */
export async function wallOf(
  device: Device,
  list: readonly Timed[],
  pictures: Pictures,
  singles: number,
  plan: TimingPlan,
): Promise<readonly Wall[]> {
  const n = Math.floor(pictures.n / BATCH) * BATCH;
  const used = slicePictures(pictures, 0, n);
  const inputs = new Map<Normalisation, Tensor<"float32">>();
  for (const { normalisation } of list) {
    if (!inputs.has(normalisation)) inputs.set(normalisation, oneBatch(used, normalisation).x);
  }
  const opened: Awaited<ReturnType<typeof open>>[] = [];
  try {
    for (const one of list) opened.push(await open(device, one));
    const batchesOf = ({ normalisation }: Timed, size: number, count: number) =>
      Array.from({ length: count }, (_, at) => rows(inputs.get(normalisation)!, at * size, (at + 1) * size));
    const contenders = [BATCH, FEW].flatMap((size) =>
      list.flatMap((one, at) => {
        // Only what may become a member is asked what a call of few costs.
        if (size === FEW && "exits" in one.network) return [];
        const batches = batchesOf(one, size, n / size);
        return {
          name: `${one.name} ${size}`,
          run: async () => {
            for (const batch of batches) await opened[at]!.run(batch);
          },
        };
      }),
    );
    const times = await timeInterleaved(contenders, plan);
    const alone = list.map((one) => batchesOf(one, 1, singles));
    for (const [at, pictures] of alone.entries()) for (const x of pictures.slice(0, 20)) await opened[at]!.run(x);
    const latencies = list.map(() => new Float64Array(singles));
    for (let picture = 0; picture < singles; picture++) {
      for (let turn = 0; turn < list.length; turn++) {
        const at = (turn + picture) % list.length;
        const begun = performance.now();
        await opened[at]!.run(alone[at]![picture]!);
        latencies[at]![picture] = performance.now() - begun;
      }
    }
    const plain = times.get(`${list[0]!.name} ${BATCH}`)!.times;
    const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
    return list.map(({ name }, at) => {
      const own = times.get(`${name} ${BATCH}`)!;
      const ms64 = own.median / n;
      const few = times.get(`${name} ${FEW}`);
      const ms8 = few === undefined ? null : few.median / n;
      return {
        name,
        wallFraction: quantile(
          own.times.map((time, round) => time / plain[round]!),
          0.5,
        ),
        wallFraction1: mean(latencies[at]!) / mean(latencies[0]!),
        p50Ms: quantile(latencies[at]!, 0.5),
        p95Ms: quantile(latencies[at]!, 0.95),
        p99Ms: quantile(latencies[at]!, 0.99),
        ms64,
        ms1: mean(latencies[at]!),
        callMs: ms8 === null ? null : Math.min(BATCH * ms64, Math.max(0, ((ms8 - ms64) * BATCH * FEW) / (BATCH - FEW))),
      };
    });
  } finally {
    await Promise.all(opened.map((one) => one.release()));
  }
}

async function open(
  device: Device,
  { network }: Timed,
): Promise<{ run(x: Tensor): Promise<unknown>; release(): Promise<void> }> {
  if ("exits" in network) {
    const staged = await openStaged(device, network.exits);
    return { run: (x) => staged.classify(x, network.thresholds), release: () => staged.release() };
  }
  const session: Session = await device.load(network.model);
  const into = new Map<number, Record<string, Tensor>>();
  return {
    run: (x) => {
      const n = x.shape[0]!;
      if (!into.has(n)) into.set(n, { logits: tensor("float32", [n, 10]) });
      return session.run({ [network.input]: x }, { into: into.get(n)! });
    },
    release: () => session.release(),
  };
}
