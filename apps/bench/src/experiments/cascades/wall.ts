import { type Device, rows, type Session, type Tensor, tensor } from "@exitkit/core-gpu";
import { type ExitModel, openStaged } from "@exitkit/early-exit";
import { oneBatch } from "../../data/batches.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import type { Pictures } from "../../data/pictures.ts";
import { quantile, type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";

/** Something that answers pictures. */
export interface Timed {
  readonly name: string;
  readonly normalisation: Normalisation;
  /** What answers each part of the pictures. */
  readonly networks: readonly Answering[];
}

type Answering =
  | { readonly model: ExitModel["model"]; readonly input: string }
  | { readonly exits: ExitModel; readonly thresholds: readonly number[] };

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
 * @param parts Pictures that different networks of each way answer.
 * @param singles Pictures timed one by one, the first of each part.
 */
export async function wallOf(
  device: Device,
  list: readonly Timed[],
  parts: readonly Pictures[],
  singles: number,
  plan: TimingPlan,
): Promise<readonly Wall[]> {
  const n = parts.reduce((sum, part) => sum + part.n, 0);
  const inputs = new Map<Normalisation, readonly Tensor<"float32">[]>();
  for (const { normalisation } of list) {
    if (!inputs.has(normalisation))
      inputs.set(
        normalisation,
        parts.map((part) => oneBatch(part, normalisation).x),
      );
  }
  const opened: Opened[][] = [];
  try {
    for (const { networks } of list) {
      const own: Opened[] = [];
      opened.push(own);
      for (const [at, network] of networks.entries()) {
        const same = networks.indexOf(network);
        own.push(same < at ? own[same]! : await open(device, network));
      }
    }
    const batchesOf = ({ normalisation }: Timed, size: number, most = Number.POSITIVE_INFINITY) =>
      inputs.get(normalisation)!.map((x) => {
        const count = Math.min(most, Math.ceil(x.shape[0]! / size));
        return Array.from({ length: count }, (_, at) => rows(x, at * size, Math.min(x.shape[0]!, (at + 1) * size)));
      });
    const contenders = [BATCH, FEW].flatMap((size) =>
      list.flatMap((one, at) => {
        // Only what may become a member is asked what a call of few costs.
        if (size === FEW && one.networks.some((network) => "exits" in network)) return [];
        const batches = batchesOf(one, size);
        return {
          name: `${one.name} ${size}`,
          run: async () => {
            for (const [part, all] of batches.entries()) for (const x of all) await opened[at]![part]!.run(x);
          },
        };
      }),
    );
    const times = await timeInterleaved(contenders, plan);
    const alone = list.map((one, at) =>
      batchesOf(one, 1, Math.ceil(singles / parts.length)).flatMap((all, part) =>
        all.map((x) => () => opened[at]![part]!.run(x)),
      ),
    );
    for (const answers of alone) for (const answer of answers.slice(0, 20)) await answer();
    const latencies = alone.map((answers) => new Float64Array(answers.length));
    for (let picture = 0; picture < alone[0]!.length; picture++) {
      for (let turn = 0; turn < list.length; turn++) {
        const at = (turn + picture) % list.length;
        const begun = performance.now();
        await alone[at]![picture]!();
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
    await Promise.all([...new Set(opened.flat())].map((one) => one.release()));
  }
}

interface Opened {
  run(x: Tensor): Promise<unknown>;
  release(): Promise<void>;
}

async function open(device: Device, network: Answering): Promise<Opened> {
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
