import { type Device, layers, openDevice, type Tensor, tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateDecoder,
  accumulateTokens,
  attachHeads,
  cutWindows,
  heads,
  judgeExits,
  judgeHeads,
  readTap,
  type StatesBatch,
  takeRows,
} from "../src/index.ts";
import { finalNorm, output, VOCABULARY, windows } from "./fixture.ts";
import { tinyDecoder, tinyText } from "./tiny-decoder.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** A stream that stops its reader before its third batch, and tells whether it was closed and how much was taken. */
function stopping<T>(batch: T) {
  const stop = new AbortController();
  const state = { closed: false, given: 0 };
  async function* stream() {
    try {
      while (state.given < 50) {
        if (++state.given === 3) stop.abort(new Error("enough"));
        yield batch;
      }
    } finally {
      state.closed = true;
    }
  }
  return { state, signal: stop.signal, stream: stream() };
}

const enough = () => AbortSignal.abort(new Error("enough"));
const signalled = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal });
const [batch] = [...windows("training")] as [StatesBatch];

describe("signals end a pass between two batches, with the streams closed and the device fit for more", () => {
  type Pass = (batches: AsyncIterable<StatesBatch> | Iterable<StatesBatch>, signal?: AbortSignal) => Promise<unknown>;
  const passes: readonly [string, Pass][] = [
    [
      "accumulateTokens",
      (batches, signal) => accumulateTokens(device, batches, { vocabulary: VOCABULARY, ...signalled(signal) }),
    ],
    ["takeRows", (batches, signal) => takeRows(batches, { vocabulary: VOCABULARY, ...signalled(signal) })],
    [
      "judgeHeads",
      async (batches, signal) => {
        const statistics = await accumulateTokens(device, [batch], { vocabulary: VOCABULARY });
        return judgeHeads(device, [heads.classAware(statistics)], batches, { output, ...signalled(signal) });
      },
    ],
  ];
  it.each(passes)("%s", async (_, pass) => {
    const { state, signal, stream } = stopping(batch);
    await expect(pass(stream, signal)).rejects.toThrow("enough");
    expect(state).toEqual({ closed: true, given: 3 });
    await expect(pass([batch], enough())).rejects.toThrow("enough");
    await pass([batch]);
  });
});

describe("signals end what is made of a decoder", () => {
  const decoder = tinyDecoder();
  const text = tinyText(20, 13);

  it("accumulateDecoder, between two batches of windows", async () => {
    const stop = new AbortController();
    const done: number[] = [];
    const onProgress = (count: number) => {
      done.push(count);
      if (count === 4) stop.abort(new Error("enough"));
    };
    const options = { exits: [{ tap: "block1" }], batchSize: 2, onProgress };
    const stopped = accumulateDecoder(device, decoder, text, { ...options, signal: stop.signal });
    await expect(stopped).rejects.toThrow("enough");
    expect(done).toEqual([2, 4]);
  });

  it("readTap, between two batches of windows", async () => {
    const stop = new AbortController();
    let seen = 0;
    const reading = (async () => {
      for await (const _ of readTap(device, decoder, text, "block1", { batchSize: 2, signal: stop.signal })) {
        if (++seen === 3) stop.abort(new Error("enough"));
      }
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(seen).toBe(3);
  });

  it("judgeExits", async () => {
    const [statistics] = await accumulateDecoder(device, decoder, text, { exits: [{ tap: "block1" }] });
    const exits = [{ tap: "block1", head: heads.classAware(statistics!) }];
    const { network, params } = attachHeads(decoder, exits, 5);
    const judged = cutWindows([...text.tokens].slice(0, 60), 6);
    await expect(judgeExits(device, network, params, judged, { signal: enough() })).rejects.toThrow("enough");
    expect((await judgeExits(device, network, params, judged)).length).toBe(2);
  });
});

describe("signals end calibration", () => {
  it("between two passes over the rows", async () => {
    const rows = await takeRows(windows("heldOut"), { vocabulary: VOCABULARY });
    const plain = { vocabulary: VOCABULARY } as const;
    const raw = await accumulateTokens(device, windows("training"), plain);
    const full = await accumulateTokens(device, windows("training"), {
      ...plain,
      ...{ norm: "final", finalNorm, cross: true },
    });
    const head = heads.classAware(raw);
    await expect(heads.calibrate(device, head, rows, { signal: enough() })).rejects.toThrow("enough");
    await expect(heads.mapAndClasses(device, full, output, rows, { signal: enough() })).rejects.toThrow("enough");
    const stop = new AbortController();
    const late = heads.calibrate(device, head, rows, { signal: stop.signal });
    queueMicrotask(() => stop.abort(new Error("enough")));
    await expect(late).rejects.toThrow("enough");
    expect((await heads.calibrate(device, head, rows)).weight.shape).toEqual(head.weight.shape);
  });
});

describe("NaN", () => {
  it("in a state is refused by its batch", async () => {
    const states = tensor("float32", [1, 3, 2], [1, 2, Number.NaN, 4, 5, 6]);
    const bad = { states, tokens: [0, 1, 0] };
    const options = { vocabulary: 2, skip: 0 };
    await expect(accumulateTokens(device, [bad], options)).rejects.toThrow(/states must be finite; got NaN/);
    await expect(takeRows([bad], options)).rejects.toThrow(/states must be finite; got NaN or infinity in batch 0/);
  });

  const spoilt = <T extends Tensor<"float32">>(given: T): T => {
    const data = given.data.slice();
    data[0] = Number.NaN;
    return { ...given, data };
  };

  it("is no prediction: heads and exits are not judged by it", async () => {
    const head = heads.classAware(await accumulateTokens(device, [batch], { vocabulary: VOCABULARY }));
    const states = { ...batch.states, data: batch.states.data.map((value, at) => (at === 20 ? Number.NaN : value)) };
    await expect(judgeHeads(device, [head], [batch, { ...batch, states }], { output })).rejects.toThrow(
      /logits must be finite; got NaN or infinity in batch 1/,
    );
    const decoder = tinyDecoder();
    const text = tinyText(4, 6);
    const [statistics] = await accumulateDecoder(device, decoder, text, { exits: [{ tap: "block1" }] });
    const { network, params } = attachHeads(decoder, [{ tap: "block1", head: heads.classAware(statistics!) }], 5);
    const broken = structuredClone(params);
    for (const { data } of Object.values(layers.flattenParameters(broken.exits[0]!))) data[0] = Number.NaN;
    await expect(judgeExits(device, network, broken, text)).rejects.toThrow(
      /logits must be finite; got NaN or infinity at exit 0, windows 0 to 3/,
    );
  });

  it("is nothing to calibrate on", async () => {
    const rows = await takeRows(windows("heldOut"), { vocabulary: VOCABULARY });
    const head = heads.classAware(await accumulateTokens(device, [batch], { vocabulary: VOCABULARY }));
    const bad = { ...rows, states: spoilt(rows.states) };
    await expect(heads.calibrate(device, head, bad)).rejects.toThrow(/logits of all rows must be finite; got NaN/);
  });
});
