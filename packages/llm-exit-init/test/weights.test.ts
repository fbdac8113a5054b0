import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Device, openDevice, ops, readSafetensors, spec, type Tensor, tensor, trace } from "@exitkit/core-gpu";
import { afterAll, describe, expect, test } from "vitest";
import { learnedPositions, turned } from "../src/decoders/positions.ts";
import { columnsAsRows, halvesFromPairs, pairsOrder, partOfHeads } from "../src/weights/arrange.ts";
import { dequantise } from "../src/weights/dequantise.ts";
import { openGguf } from "../src/weights/gguf.ts";
import { compute } from "./decoder-fixtures.ts";

const device: Device = await openDevice("cpu");
afterAll(() => device.close());

const fixtures = fileURLToPath(new URL("../fixtures/gguf/", import.meta.url));
const column = (values: readonly number[]) => tensor("float32", [values.length, 1], values);
const listed = ({ data }: Tensor) => Array.from(data, Number);

describe("GGUF's number formats", () => {
  test("equal what the gguf package makes of them, bit for bit", async () => {
    const wanted = readSafetensors(readFileSync(`${fixtures}formats.safetensors`)).tensors;
    const file = await openGguf("test", `${fixtures}formats.gguf`);
    expect([...file.shapes.keys()].sort()).toEqual(["BF16", "F16", "F32", "Q4_0", "Q4_1", "Q4_K", "Q6_K", "Q8_0"]);
    for (const [name, golden] of Object.entries(wanted)) expect(await file.read(name), name).toEqual(golden);
    await file.close();
  });

  test("Q4_0: low nibbles are elements 0 … 15, high ones 16 … 31", () => {
    // d = .5 as half precision, byte j = ((j + 1) % 16) << 4 | j.
    const bytes = Uint8Array.from([0x00, 0x38, ...Array.from({ length: 16 }, (_, j) => (((j + 1) % 16) << 4) | j)]);
    const out = dequantise(2, bytes);
    expect([...out.subarray(0, 3)]).toEqual([-4, -3.5, -3]);
    expect([...out.subarray(16, 19)]).toEqual([-3.5, -3, -2.5]);
  });

  test("Q4_1: d = .25, m = −1, nibble 3 is −.25", () => {
    const bytes = Uint8Array.from([0x00, 0x34, 0x00, 0xbc, ...Array(16).fill(0x33)]);
    expect([...dequantise(3, bytes)]).toEqual(Array(32).fill(-0.25));
  });
});

describe("a GGUF file's header", () => {
  const folder = mkdtempSync(join(tmpdir(), "gguf-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const text = (value: string) => {
    const bytes = Buffer.alloc(8 + value.length, value.padStart(8 + value.length));
    bytes.writeBigUInt64LE(BigInt(value.length));
    return bytes;
  };
  /** A file of no tensors and one value. */
  const withValue = (kind: number, ...value: readonly Buffer[]) => {
    const head = Buffer.alloc(24);
    head.write("GGUF");
    head.writeUInt32LE(3, 4);
    head.writeBigUInt64LE(1n, 16);
    const type = Buffer.alloc(4);
    type.writeUInt32LE(kind);
    const path = join(folder, `${kind}.gguf`);
    writeFileSync(path, Buffer.concat([head, text("general.name"), type, ...value]));
    return path;
  };

  test("a list that is longer than the file is refused, not read as zeros", async () => {
    const list = Buffer.alloc(12);
    list.writeUInt32LE(8);
    list.writeBigUInt64LE(600_000n, 4);
    const message = /must be a GGUF file; got a list of 4800000 bytes or more where 8 are left/;
    await expect(openGguf("test", withValue(9, list, text("")))).rejects.toThrow(message);
  });

  test("one that ends where the next part is read ahead is read", async () => {
    const name = "x".repeat(1_900_000);
    const file = await openGguf("test", withValue(8, text(name)));
    expect(file.metadata["general.name"]).toBe(name);
    await file.close();
  });
});

describe("the order of rows", () => {
  test("queries and keys are permuted head by head", () => {
    expect([...pairsOrder(8, 1)]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    expect([...pairsOrder(8, 2)]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect([...pairsOrder(8, 4)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    for (const heads of [1, 2, 4]) {
      const stored = column([...pairsOrder(8, heads)]);
      expect(listed(halvesFromPairs(heads)(stored))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    }
  });

  test("parts of a joined layer: head by head, or columns", () => {
    // Two heads, three parts of two rows each.
    const joined = column(Array.from({ length: 12 }, (_, row) => row));
    expect(listed(partOfHeads(2, 3, 1)(joined))).toEqual([2, 3, 8, 9]);
    const matrix = tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
    const taken = columnsAsRows(1, 3)(matrix);
    expect([taken.shape, listed(taken)]).toEqual([
      [2, 2],
      [2, 5, 3, 6],
    ]);
  });
});

describe("positions", () => {
  const one = { cos: [1, 0.01].map(Math.cos), sin: [1, 0.01].map(Math.sin) };
  const table = (values: readonly number[]) => tensor("float32", [1, values.length], values);

  test.each([
    ["half", [-1.98411, 1.9599, 2.46238, 4.0198]],
    ["pairs", [-1.14264, 1.92208, 2.95985, 4.0298]],
  ] as const)("rotary, layout %s: d = 4, θ = 10000, position 1", async (layout, wanted) => {
    const program = trace(({ x }) => ({ y: turned(x, { cos: table(one.cos), sin: table(one.sin) }, layout) }), {
      x: spec("float32", [1, 1, 1, 4]),
    });
    const { y } = await compute(device, program, { x: tensor("float32", [1, 1, 1, 4], [1, 2, 3, 4]) });
    listed(y!).forEach((value, at) => {
      expect(value).toBeCloseTo(wanted[at]!, 4);
    });
  });

  test("partial rotary: of a head of 8, a quarter turns and dimensions 2 … 7 stay", async () => {
    const angles = { cos: table([Math.cos(1)]), sin: table([Math.sin(1)]) };
    const program = trace(({ x }) => ({ y: turned(x, angles, "half") }), { x: spec("float32", [1, 1, 1, 8]) });
    const { y } = await compute(device, program, { x: tensor("float32", [1, 1, 1, 8], [1, 2, 3, 4, 5, 6, 7, 8]) });
    const values = listed(y!);
    expect(values.slice(2)).toEqual([3, 4, 5, 6, 7, 8]);
    expect(values[0]).toBeCloseTo(Math.cos(1) - 2 * Math.sin(1), 5);
    expect(values[1]).toBeCloseTo(2 * Math.cos(1) + Math.sin(1), 5);
  });

  test.each([
    ["OPT's from row 2, padding on row 1", 2, [1, 1, 2, 3, 4]],
    ["from row 0, padding there too", 0, [0, 0, 0, 1, 2]],
  ])("learned ones follow the mask 0 0 1 1 1: %s", async (_, offset, rows) => {
    const program = trace(({ table, mask }) => ({ rows: learnedPositions(table, mask, mask, offset) }), {
      table: spec("float32", [8, 1]),
      mask: spec("int64", [1, 5]),
    });
    const feeds = { table: column([0, 1, 2, 3, 4, 5, 6, 7]), mask: tensor("int64", [1, 5], [0, 0, 1, 1, 1]) };
    expect(listed((await compute(device, program, feeds)).rows!)).toEqual(rows);
  });

  test("a number of tokens known only when it runs", async () => {
    const program = trace(
      ({ table, tokens }) => ({ rows: learnedPositions(table, tokens, undefined, 2), same: ops.identity(tokens) }),
      { table: spec("float32", [8, 1]), tokens: spec("int32", ["n", "t"]) },
    );
    const feeds = { table: column([0, 1, 2, 3, 4, 5, 6, 7]), tokens: tensor("int32", [1, 4], [0, 0, 0, 0]) };
    expect(listed((await compute(device, program, feeds)).rows!)).toEqual([2, 3, 4, 5]);
  });
});
