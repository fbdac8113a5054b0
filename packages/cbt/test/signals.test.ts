import { type Device, openDevice, tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateClassProbabilities,
  exitLogits,
  fitCarries,
  fitPixelExits,
  type LabelledFrames,
  measureFrames,
  recordPixels,
} from "../src/index.ts";
import { frameOf, smallNetwork } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const network = smallNetwork();
const x = frameOf(1);
const labels = tensor("uint8", [1, 18, 22]);
for (let at = 0; at < labels.data.length; at++) labels.data[at] = at % 5;
const frames = (): LabelledFrames => ({ x, labels });

/** A stream that stops its reader before its third element, and tells whether it was closed and how much was taken. */
function stopping<T>(element: T) {
  const stop = new AbortController();
  const state = { closed: false, given: 0 };
  async function* stream() {
    try {
      for (; state.given < 50; ) {
        if (++state.given === 3) stop.abort(new Error("enough"));
        yield element;
      }
    } finally {
      state.closed = true;
    }
  }
  return { state, signal: stop.signal, stream: stream() };
}

const drained = async (stream: AsyncIterable<unknown>) => {
  for await (const _ of stream);
};

describe("signals end a pass between two batches, with the streams closed and the device fit for more", () => {
  const passes: readonly [string, (stream: AsyncIterable<LabelledFrames>, signal?: AbortSignal) => Promise<unknown>][] =
    [
      ["exitLogits", (stream, signal) => drained(exitLogits(network, stream, { device, ...given(signal) }))],
      ["fitPixelExits", (stream, signal) => fitPixelExits(network, stream, { device, windows: [1], ...given(signal) })],
      ["fitCarries", (stream, signal) => fitCarries(network, inputs(stream), { device, ...given(signal) })],
      ["measureFrames", (stream, signal) => measureFrames(network, stream, { path: [0.5], device, ...given(signal) })],
      [
        "recordPixels",
        (stream, signal) => recordPixels(exitLogits(network, stream, { device }), { classes: 5, ...given(signal) }),
      ],
      [
        "accumulateClassProbabilities",
        (stream, signal) =>
          accumulateClassProbabilities(exitLogits(network, stream, { device }), { classes: 5, ...given(signal) }),
      ],
    ];

  it.each(passes)("%s", async (_, pass) => {
    const { state, signal, stream } = stopping(frames());
    await expect(pass(stream, signal)).rejects.toThrow("enough");
    expect(state).toEqual({ closed: true, given: 3 });
    await expect(pass(only(frames()), AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
    await pass(only(frames()));
  });
});

const given = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal });

async function* only<T>(element: T) {
  yield element;
}

async function* inputs(stream: AsyncIterable<LabelledFrames>) {
  for await (const batch of stream) yield batch.x;
}
