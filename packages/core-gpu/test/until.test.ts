import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, generator, openDevice, quantiseModel, readModel, tensor, training, until } from "../src/index.ts";
import { compileTiny, points } from "./training/tiny.ts";

describe("until", () => {
  const source = () => {
    const state = { given: 0, closed: false };
    async function* numbers() {
      try {
        for (;;) yield state.given++;
      } finally {
        state.closed = true;
      }
    }
    return { state, numbers: numbers() };
  };

  it("gives what the stream gives, sync or async, to its end", async () => {
    const seen: number[] = [];
    for await (const value of until(undefined, [3, 1, 2])) seen.push(value);
    for await (const value of until(new AbortController().signal, [4])) seen.push(value);
    expect(seen).toEqual([3, 1, 2, 4]);
  });

  it("ends with the signal's reason after the element under way, and closes the stream", async () => {
    const { state, numbers } = source();
    const stop = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const value of until(stop.signal, numbers)) {
        seen.push(value);
        if (value === 2) stop.abort(new Error("enough"));
      }
    })();
    await expect(reading).rejects.toThrow("enough");
    expect({ seen, closed: state.closed, given: state.given }).toEqual({ seen: [0, 1, 2], closed: true, given: 3 });
  });

  it("takes nothing where the signal came before", async () => {
    const { state, numbers } = source();
    await expect(until(AbortSignal.abort(new Error("before")), numbers).next()).rejects.toThrow("before");
    expect(state.given).toBe(0);
  });

  it("closes the stream where its reader stops", async () => {
    const { state, numbers } = source();
    for await (const value of until(undefined, numbers)) if (value === 1) break;
    expect(state.closed).toBe(true);
  });

  it("refuses what is no stream", () => {
    expect(() => until(undefined, null as never)).toThrow("core-gpu.until: stream must be an iterable; got null");
  });
});

describe("a signal ends", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice("cpu", { threads: 1 });
  });
  afterAll(() => device.close());

  it("the calibration of quantiseModel, between two batches", async () => {
    const model = readModel(readFileSync(new URL("../fixtures/onnx/vgg.onnx", import.meta.url)));
    const [input] = model.proto.graph!.input;
    const random = generator(1);
    const shape = [2, 3, 32, 32];
    const x = tensor(
      "float32",
      shape,
      Array.from({ length: 2 * 3 * 1024 }, () => random.normal()),
    );
    const stop = new AbortController();
    let closed = false;
    async function* batches() {
      try {
        yield { [input!.name]: x };
        stop.abort(new Error("enough"));
        yield { [input!.name]: x };
      } finally {
        closed = true;
      }
    }
    await expect(quantiseModel(device, model, batches(), { signal: stop.signal })).rejects.toThrow("enough");
    expect(closed).toBe(true);
    const { report } = await quantiseModel(device, model, [{ [input!.name]: x }], { weightBits: 8 });
    expect(report.layers.length).toBeGreaterThan(0);
  });

  it("training.predict, between two batches, and the runner runs on", async () => {
    const runner = await compileTiny(device);
    const stop = new AbortController();
    const data = points();
    let read = 0;
    const stopping: training.Dataset = {
      size: data.size,
      batch: (indices, from) => {
        if (++read === 2) stop.abort(new Error("enough"));
        return data.batch(indices, from);
      },
    };
    const learningRate = tensor("float32", [], [0]);
    const fed = (of: training.Dataset): training.Dataset => ({
      size: of.size,
      batch: async (indices, from) => ({ ...(await of.batch(indices, from)), learningRate }),
    });
    const options = { runner, batchSize: 8, outputs: ["losses"], prefetch: 0 };
    await expect(training.predict({ ...options, data: fed(stopping), signal: stop.signal })).rejects.toThrow("enough");
    expect(read).toBe(2);
    expect(data.size).toBeGreaterThan(16);
  });
});
