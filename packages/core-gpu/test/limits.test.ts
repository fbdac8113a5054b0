// Limits on what comes from outside: each of these took seconds to minutes, or gigabytes, before it was refused.
import { describe, expect, test } from "vitest";
import { InputError, openDevice, readModel, readSafetensors, tensor, writeSafetensors } from "../src/index.ts";
import { fixtureBytes } from "./onnx-support.ts";

/** A safetensors file of the given header text. */
function withHeader(text: string, data = 0): Uint8Array {
  const header = new TextEncoder().encode(text);
  const bytes = new Uint8Array(8 + header.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  return bytes;
}

function refusal(work: () => unknown): InputError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error as InputError;
  }
  throw new Error("nothing was refused");
}

describe("safetensors", () => {
  test("ten thousands of huge dimensions are refused by their number, 32 by their product", () => {
    const shaped = (rank: number) => {
      const shape = Array(rank).fill(Number.MAX_SAFE_INTEGER).join(",");
      return withHeader(`{"x":{"dtype":"F32","shape":[${shape}],"data_offsets":[0,0]}}`);
    };
    expect(refusal(() => readSafetensors(shaped(100_000))).message).toContain('tensor "x" whose shape is wrong');
    expect(refusal(() => readSafetensors(shaped(32))).message).toContain("more than any file holds");
  });

  test("zeros anywhere in a shape make it empty, whatever the others are", () => {
    const text = `{"x":{"dtype":"F32","shape":[${Number.MAX_SAFE_INTEGER},${Number.MAX_SAFE_INTEGER},0],"data_offsets":[0,0]}}`;
    expect(readSafetensors(withHeader(text)).tensors.x!.data).toHaveLength(0);
  });

  test("what is written can be read: metadata of nine million characters, 32 dimensions and not 33", () => {
    const long = '\\"'.repeat(4_500_000);
    const { metadata } = readSafetensors(writeSafetensors({}, { long }));
    expect(metadata.long === long).toBe(true);
    const deep = tensor("float32", Array(32).fill(1));
    expect(readSafetensors(writeSafetensors({ deep })).tensors.deep!.shape).toHaveLength(32);
    const deeper = { x: tensor("float32", Array(33).fill(1)) };
    expect(refusal(() => writeSafetensors(deeper)).message).toContain('"x" must have at most 32 dimensions; got 33.');
  });

  test.each(["__proto__", "constructor", 'a"b\\', "x".repeat(300_000)])("a key twice is found: %.20s", (key) => {
    const quoted = JSON.stringify(key);
    const { message } = refusal(() => readSafetensors(withHeader(`{"__metadata__":{${quoted}:"1", ${quoted} : "2"}}`)));
    expect(message).toContain("twice");
    expect(message.length).toBeLessThan(600);
    const once = readSafetensors(withHeader(`{"__metadata__":{${quoted}:${quoted}}}`)).metadata;
    expect(Object.entries(once)).toEqual([[key, key]]);
  });

  test("messages quote at most 200 characters of a name", () => {
    const name = "n".repeat(164_132);
    for (const entry of [
      '{"dtype":"F32"}',
      '{"dtype":"F32","shape":[2],"data_offsets":[0,3]}',
      `{"dtype":"${name}","shape":[],"data_offsets":[0,0]}`,
    ])
      expect(refusal(() => readSafetensors(withHeader(`{"${name}":${entry}}`))).message.length).toBeLessThan(800);
  });
});

describe("ONNX", () => {
  test("empty messages of two bytes each are counted before they are made", () => {
    // Field 7 of the model is the graph, field 1 of that a node: 0x0a 0x00 is one.
    const nodes = new Uint8Array(2_000_000).map((_, at) => (at % 2 === 0 ? 0x0a : 0));
    const length = [0x80 | (2_000_000 & 0x7f), 0x80 | ((2_000_000 >> 7) & 0x7f), 2_000_000 >> 14];
    const bytes = Uint8Array.from([0x3a, ...length, ...nodes]);
    const { message } = refusal(() => readModel(bytes));
    expect(message).toContain(
      "the model must be a complete ONNX file; got more than 176667 messages in 2000004 bytes.",
    );
    expect(message).toContain("Pass maxMessages");
    expect(refusal(() => readModel(bytes, { maxMessages: 2_000_000 })).message).toContain("imports no operator set");
  });

  test("the limit counts what a decoder makes, and real networks are far below it", () => {
    for (const name of ["resnet20", "transformer", "control-flow", "types"]) {
      const bytes = fixtureBytes(name);
      expect(() => readModel(bytes)).not.toThrow();
      expect(refusal(() => readModel(bytes, { maxMessages: 10 })).message).toContain("more than 10 messages");
    }
  });

  test("a model with a Loop says that its runs have no deadline", async () => {
    const device = await openDevice("cpu");
    const notes = async (name: string) => (await device.load(fixtureBytes(name))).notes;
    expect(await notes("control-flow")).toEqual([
      expect.stringMatching(/^Loop node ".*" decides how long a run takes: there is no deadline\.$/),
    ]);
    expect(await notes("resnet20")).toEqual([]);
    await device.close();
  });
});

test("an error is never as long as what it is about", () => {
  const error = new InputError("caller", "e".repeat(1e6), "a".repeat(1e6));
  expect(error.message.length).toBeLessThan(3100);
});
