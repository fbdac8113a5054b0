import { generator, sizeOf, tensor } from "@exitkit/core-gpu";
import { type Batches, type CheckedBatch, plainBatch } from "./batches.ts";
import { joining } from "./joining.ts";

const HELD_OUT_SAMPLES = 5000;
const HELD_OUT_BYTES = 256e6;
/** One sample of so many of each class is held out. */
const BLOCK = 10;
/** Which of each ten, and which give way where there is no more room: always alike. */
const SEED = 1;
const BATCH = 128;

/** Samples of a stream that are kept away from training. */
export interface HeldOut {
  /** Copies of them, in batches, as they are once the stream has ended. */
  batches(): readonly CheckedBatch[];
  /**
   * Takes copies of the samples of a stream that are to be held out.
   *
   * @returns What is to be trained on: the others, and those that gave way to them, in batches as large as the stream's, so that the
   * network runs no more often than it has to. The memory of a batch is used again for the next.
   */
  trainOn(stream: AsyncIterable<CheckedBatch>): AsyncIterable<CheckedBatch>;
  /** A stream like the first, without the samples that were held out. */
  leaveOut(again: Batches): AsyncIterable<CheckedBatch>;
}

interface Sample {
  /** Place in the stream. */
  readonly place: number;
  readonly x: Float32Array;
  readonly label: number;
}

/** What is held out of a class, and which of its next ten samples is up. */
interface Reservoir {
  readonly held: Sample[];
  seen: number;
  chosen: number;
  blocks: number;
}

/**
 * Holds out one of every ten samples of each class, a random one, however the stream is ordered: class by class, or in turn. Where
 * that would be more than 5,000 samples or 256 MB, each class has its share of them, and its blocks of ten are drawn among evenly
 * (a reservoir): what gives way is trained on.
 */
export function holdOut(classes: number): HeldOut {
  const random = generator(SEED);
  const reservoirs = new Map<number, Reservoir>();
  let shape: readonly number[] = [];
  let place = 0;
  const roomOf = (bytes: number): number =>
    Math.max(1, Math.floor(Math.min(HELD_OUT_SAMPLES, HELD_OUT_BYTES / Math.max(1, bytes)) / classes));
  /** The sample that is to be trained on instead: none where there is room, else the one that gives way. */
  const put = (reservoir: Reservoir, sample: Sample): Sample | null => {
    reservoir.blocks++;
    const room = roomOf(sample.x.byteLength);
    if (reservoir.held.length < room) {
      reservoir.held.push(sample);
      return null;
    }
    const at = random.integer(reservoir.blocks);
    if (at >= room) return sample;
    const gone = reservoir.held[at]!;
    reservoir.held[at] = sample;
    return gone;
  };
  return {
    batches: () => {
      const all = [...reservoirs.values()].flatMap(({ held }) => held).sort((a, b) => a.place - b.place);
      return Array.from({ length: Math.ceil(all.length / BATCH) }, (_, at) =>
        batchOf(all.slice(at * BATCH, (at + 1) * BATCH), shape),
      );
    },
    async *trainOn(stream) {
      const joined = joining();
      for await (const batch of stream) {
        shape = batch.x.shape.slice(1);
        const width = sizeOf(shape);
        joined.makeRoomFor(batch);
        for (let row = 0; row < batch.y.length; row++) {
          const label = Number(batch.y[row]);
          const own = reservoirs.get(label) ?? { held: [], seen: 0, chosen: random.integer(BLOCK), blocks: 0 };
          reservoirs.set(label, own);
          const sample = { place: place++, x: batch.x.data.subarray(row * width, (row + 1) * width), label };
          const up = own.seen === own.chosen;
          own.seen++;
          if (own.seen === BLOCK) {
            own.seen = 0;
            own.chosen = random.integer(BLOCK);
          }
          // The batch's memory may be used again: what is held is copied, as what is joined is.
          const trained = up ? put(own, { ...sample, x: sample.x.slice() }) : sample;
          if (trained !== null && joined.add(trained.x, trained.label)) yield* joined.take();
        }
      }
      yield* joined.take();
    },
    async *leaveOut(again) {
      const held = new Set([...reservoirs.values()].flatMap((own) => own.held.map((sample) => sample.place)));
      let at = 0;
      for await (const given of again) {
        const batch = plainBatch("e2cm.fit", given, 0);
        const width = sizeOf(batch.x.shape.slice(1));
        const data = batch.x.data as Float32Array;
        const left: Sample[] = [];
        for (let row = 0; row < batch.y.length; row++, at++) {
          const x = data.subarray(row * width, (row + 1) * width);
          if (!held.has(at)) left.push({ place: at, x, label: Number(batch.y[row]) });
        }
        yield left.length === batch.y.length ? batch : batchOf(left, batch.x.shape.slice(1));
      }
    },
  };
}

function batchOf(samples: readonly Sample[], shape: readonly number[]): CheckedBatch {
  const width = sizeOf(shape);
  const x = tensor("float32", [samples.length, ...shape]);
  for (const [row, sample] of samples.entries()) x.data.set(sample.x, row * width);
  return { x, y: samples.map(({ label }) => label) };
}
