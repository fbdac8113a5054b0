import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../src/errors.ts";
import { generator } from "../src/random.ts";
import {
  openSafetensorsFile,
  readSafetensors,
  readSafetensorsFile,
  writeSafetensors,
  writeSafetensorsFile,
} from "../src/safetensors.ts";
import type { DType, Tensor } from "../src/tensor.ts";
import { bytesPerElement, sizeOf, tensor } from "../src/tensor.ts";

// Written by fixtures/generate_safetensors.py with the reference library.
const golden: {
  tensors: Record<string, { dtype: DType; shape: number[]; values: string[] }>;
  metadata: Record<string, string>;
  file: string;
  fileWithMetadata: string;
  narrow: { tensors: Record<string, { dtype: DType; shape: number[]; values: string[] }>; file: string };
  everyHalf: string;
  everyBfloat16: string;
  uint32: string;
  none: string;
} = JSON.parse(readFileSync(new URL("../fixtures/safetensors.json", import.meta.url), "utf8"));
const decoded = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
const file = decoded(golden.file);

const parsed = (dtype: DType, values: readonly string[]) =>
  values.map((value) => {
    if (dtype === "int64") return BigInt(value);
    if (dtype === "bool") return value === "True";
    return value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value);
  });
const expected = Object.fromEntries(
  Object.entries(golden.tensors).map(([name, { dtype, shape, values }]) => [
    name,
    tensor(dtype, shape, parsed(dtype, values)),
  ]),
);

describe("against the reference library", () => {
  test("its file is read: nine tensors, six dtypes, a scalar, an empty one, an odd name", () => {
    const { tensors, metadata } = readSafetensors(file);
    expect(Object.keys(tensors)).toHaveLength(9);
    expect(tensors).toEqual(expected);
    expect(Object.is(tensors['ünïcode "quoted"\n']!.data[1], -0)).toBe(true);
    expect(metadata).toEqual({});
    expect(readSafetensors(decoded(golden.none))).toEqual({ tensors: {}, metadata: {} });
  });

  test("its metadata are read", () => {
    expect(readSafetensors(decoded(golden.fileWithMetadata)).metadata).toEqual(golden.metadata);
  });

  test("our file is byte for byte the same", () => {
    const shuffled = Object.fromEntries(generator(1).shuffle(Object.entries(expected)));
    expect(writeSafetensors(shuffled)).toEqual(file);
    expect(writeSafetensors(shuffled, golden.metadata)).toEqual(decoded(golden.fileWithMetadata));
    expect(writeSafetensors({})).toEqual(decoded(golden.none));
  });
});

test("a file opened reads the same tensors one at a time, and refuses what is no file of that format", async () => {
  const folder = await mkdtemp(join(tmpdir(), "safetensors-"));
  try {
    const path = join(folder, "x.safetensors");
    for (const [bytes, wanted] of [
      [decoded(golden.fileWithMetadata), expected],
      [decoded(golden.none), {}],
    ] as const) {
      await writeFile(path, bytes);
      const opened = await openSafetensorsFile(path);
      const read = await Promise.all([...opened.shapes.keys()].map(async (name) => [name, await opened.read(name)]));
      expect(Object.fromEntries(read)).toEqual(wanted);
      await expect(opened.read("nothing")).rejects.toThrow(/no tensor "nothing"/);
      await opened.close();
    }
    // A type that no host tensor has is refused only where it is asked for.
    const header = Buffer.from(
      JSON.stringify({
        a: { dtype: "F32", shape: [1], data_offsets: [0, 4] },
        b: { dtype: "F8_E4M3", shape: [4], data_offsets: [4, 8] },
      }).padEnd(128),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(path, Buffer.concat([length, header, Buffer.from([0, 0, 128, 63, 1, 2, 3, 4])]));
    const { tensors } = await readSafetensorsFile(path, { only: ["a"] });
    expect(tensors).toEqual({ a: tensor("float32", [1], [1]) });
    await expect(readSafetensorsFile(path, { only: ["b"] })).rejects.toThrow(
      /^core-gpu\.readSafetensorsFile: .*F8_E4M3/,
    );
    await expect(readSafetensorsFile(path)).rejects.toThrow(/F8_E4M3/);
    await expect(readSafetensorsFile(path, { only: ["c"] })).rejects.toThrow(/no tensor "c"/);
    for (const cut of [0, 7, 8, 100, file.length - 1]) {
      await writeFile(path, file.subarray(0, cut));
      await expect(openSafetensorsFile(path), `${cut} bytes`).rejects.toThrow(InputError);
    }
    await expect(openSafetensorsFile(join(folder, "none"))).rejects.toThrow(/no such file/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("narrow numbers are widened", () => {
  test("to those the reference library and PyTorch read: 0x3F80 is 1 as bfloat16, 1.875 as float16", () => {
    const { tensors } = readSafetensors(decoded(golden.narrow.file));
    const wanted = Object.entries(golden.narrow.tensors).map(([name, { dtype, shape, values }]) => [
      name,
      tensor(dtype, shape, parsed(dtype, values)),
    ]);
    expect(tensors).toEqual(Object.fromEntries(wanted));
    expect(tensors.bfloat16!.data[0]).toBe(1);
    expect(tensors.float16!.data[0]).toBe(1.875);
  });

  test("all 65,536 patterns of both, exactly", () => {
    const data = new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, bits) => bits).buffer);
    for (const [code, digest] of [
      ["F16", golden.everyHalf],
      ["BF16", golden.everyBfloat16],
    ] as const) {
      const header = `{"x":{"dtype":"${code}","shape":[65536],"data_offsets":[0,131072]}}`;
      const bytes = new Uint8Array(8 + header.length + data.length);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
      bytes.set(new TextEncoder().encode(header), 8);
      bytes.set(data, 8 + header.length);
      const { x } = readSafetensors(bytes).tensors;
      const values = Float32Array.from(x!.data as Float32Array, (value) => (Number.isNaN(value) ? Number.NaN : value));
      expect(createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex"), code).toBe(digest);
    }
  });
});

test("data are views where aligned, right everywhere", () => {
  for (let offset = 0; offset < 9; offset++) {
    const larger = new Uint8Array(file.length + 9);
    larger.set(file, offset);
    const { tensors } = readSafetensors(larger.subarray(offset, offset + file.length));
    expect(tensors).toEqual(expected);
    for (const { dtype, data } of Object.values(tensors)) {
      if (offset === 0 && data.length > 0) expect(data.buffer).toBe(larger.buffer);
      expect(data.byteOffset % bytesPerElement(dtype)).toBe(0);
    }
  }
});

const anyTensor = fc
  .record({
    dtype: fc.constantFrom<DType[]>("float32", "float64", "int32", "int64", "uint8", "bool"),
    shape: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
    seed: fc.nat(),
  })
  .map(({ dtype, shape, seed }): Tensor => {
    const random = generator(seed);
    return tensor(
      dtype,
      shape,
      Array.from({ length: sizeOf(shape) }, () => random.integer(2)),
    ) as Tensor;
  });
const anyName = fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__");

test("whatever is written is read back, names like __proto__ and 1 included", () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyName), fc.array(anyTensor, { minLength: 3 }), (names, values) => {
      const all = [...new Set([...names, "__proto__", "constructor", "1"])];
      const tensors = Object.fromEntries(all.map((name, i) => [name, values[i % values.length]!]));
      const metadata = Object.fromEntries([...all, "__metadata__"].map((name) => [name, name]));
      const read = readSafetensors(writeSafetensors(tensors, metadata));
      expect(new Map(Object.entries(read.tensors))).toEqual(new Map(Object.entries(tensors)));
      expect(Object.entries(read.metadata).sort()).toEqual(Object.entries(metadata).sort());
      expect(Object.getPrototypeOf(read.tensors)).toBe(Object.prototype);
    }),
  );
});

describe("writing refuses", () => {
  const x = tensor("float32", [1]);
  test.each([
    [
      "a tensor named __metadata__",
      () => writeSafetensors({ __metadata__: x }),
      'no tensor may be named "__metadata__"',
    ],
    ["half a surrogate pair", () => writeSafetensors({ "a\ud800": x }), "half a surrogate pair"],
    [
      "metadata that are no strings",
      () => writeSafetensors({ x }, { n: 1 as never }),
      'metadata "n" must be a string; got number',
    ],
    [
      "data that do not fit",
      () => writeSafetensors({ x: { ...x, shape: [2] } }),
      '"x" must be a tensor; got one that is not (core-gpu.tensor: shape [2] needs 2 elements; got 1',
    ],
    ["an unknown dtype", () => writeSafetensors({ x: { ...x, dtype: "float16" as never } }), "dtype must be one of"],
  ])("%s", (_, write, message) => {
    expect(write).toThrow(InputError);
    expect(write).toThrow(message);
  });
});

/** A file with this header and these many bytes of data. */
function made(header: string | object, data = 0, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}
const f32 = (shape: number[], begin: number, end: number) => ({ dtype: "F32", shape, data_offsets: [begin, end] });

describe("reading refuses", () => {
  test.each<[string, Uint8Array, string]>([
    [
      "no header length",
      new Uint8Array(7),
      "got 7 bytes, fewer than the 8 of the header's length. The file is cut short",
    ],
    ["a header over the limit", made("{}", 0, 100_000_001n), "got a header of 100000001 bytes, more than 100000000"],
    ["a huge length", made("{}", 0, 2n ** 64n - 1n), "got a header of 18446744073709551615 bytes"],
    ["a header past the end", made("{}", 0, 3n), "got a header of 3 bytes in a file of 10"],
    [
      "text that is not UTF-8",
      (() => {
        const b = made('{"a":1}');
        b[10] = 0xff;
        return b;
      })(),
      "got a header that is not UTF-8",
    ],
    ["another start", made(" {}"), 'got a header that starts with " ", not "{"'],
    ["an empty header", made(""), 'got a header that starts with "", not "{"'],
    ["a list", made("[]"), 'got a header that starts with "[", not "{"'],
    ["no JSON", made("{nonsense}"), "got a header that is not JSON"],
    [
      "one name twice",
      made(
        '{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
      ),
      'got a header with the key "a" twice',
    ],
    [
      "one field twice",
      made('{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
      'the key "dtype" twice',
    ],
    ["one metadata key twice", made('{"__metadata__":{"k":"1","k":"2"}}'), 'the key "k" twice'],
    [
      "metadata that are no strings",
      made({ __metadata__: { k: 1 } }),
      "got a __metadata__ that does not map strings to strings",
    ],
    ["metadata that are a list", made({ __metadata__: [] }), "a __metadata__ that does not map"],
    ["a tensor that is no object", made({ a: 3 }), 'got tensor "a" whose entry is wrong'],
    ["a missing dtype", made({ a: { shape: [], data_offsets: [0, 4] } }, 4), 'tensor "a" whose dtype is wrong'],
    ["a negative dimension", made({ a: f32([-1], 0, 4) }, 4), 'tensor "a" whose shape.0 is wrong'],
    ["a fractional dimension", made({ a: f32([0.5], 0, 2) }, 2), 'tensor "a" whose shape.0 is wrong'],
    ["three offsets", made({ a: { dtype: "F32", shape: [], data_offsets: [0, 4, 8] } }, 8), "whose data_offsets"],
    [
      "a dtype nobody knows",
      made({ a: { ...f32([], 0, 4), dtype: "F99" } }, 4),
      "dtype F99, which the format does not know",
    ],
    [
      "a dtype from Object's prototype",
      made({ a: { ...f32([], 0, 4), dtype: "constructor" } }, 4),
      "which the format does not know",
    ],
    [
      "bytes that do not fit the shape",
      made({ a: f32([3], 0, 8) }, 8),
      'got tensor "a" of dtype F32 and shape [3] with bytes 0 to 8, where it needs 12',
    ],
    ["an end before the beginning", made({ a: f32([1], 4, 0) }, 4), "with bytes 4 to 0, where it needs 4"],
    [
      "a shape that overflows",
      made({ a: f32([2 ** 33, 2 ** 31], 0, 0) }),
      "of dtype F32 and shape [8589934592, 2147483648], more than any file holds",
    ],
    ["half bytes", made({ a: { dtype: "F4", shape: [1], data_offsets: [0, 0] } }), "where it needs 4/8"],
    [
      "a gap",
      made({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12),
      'tensor "b" that starts at byte 8 where 4 bytes are taken (a gap)',
    ],
    ["a gap at the start", made({ a: f32([1], 4, 8) }, 8), "(a gap)"],
    [
      "an overlap",
      made({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12),
      'tensor "b" that starts at byte 4 where 8 bytes are taken (an overlap)',
    ],
    ["data left over", made({ a: f32([1], 0, 4) }, 5), "got 5 bytes of data where the tensors take 4"],
    ["data cut short", made({ a: f32([2], 0, 8) }, 4), "got 4 bytes of data where the tensors take 8"],
    [
      "a bool of 2",
      (() => {
        const b = made({ a: { dtype: "BOOL", shape: [1], data_offsets: [0, 1] } }, 1);
        b[b.length - 1] = 2;
        return b;
      })(),
      'got tensor "a" of dtype BOOL with a byte 2',
    ],
    [
      "float16",
      decoded(golden.uint32),
      'got tensor "wide" of dtype U32, which is not supported here. Convert it first; supported are I64, F64, F32, I32, U8, BOOL',
    ],
  ])("%s", (_, bytes, message) => {
    const read = () => readSafetensors(bytes, { source: "weights.safetensors" });
    expect(read).toThrow(InputError);
    expect(read).toThrow(message);
    expect(read).toThrow("core-gpu.readSafetensors: weights.safetensors must be a valid safetensors file; got ");
  });

  test("but not unknown fields and null metadata, which the reference reader takes too", () => {
    const { tensors, metadata } = readSafetensors(made({ a: { ...f32([1], 0, 4), extra: 1 }, __metadata__: null }, 4));
    expect(tensors).toEqual({ a: tensor("float32", [1]) });
    expect(metadata).toEqual({});
  });

  test("something that is no bytes", () => {
    expect(() => readSafetensors("text" as never)).toThrow(
      "the bytes must be a valid safetensors file; got string. Pass a Uint8Array.",
    );
    expect(() => readSafetensors(null as never)).toThrow("got null");
  });

  test("every truncation", () => {
    for (let length = 0; length < file.length; length++) {
      expect(() => readSafetensors(file.subarray(0, length))).toThrow(InputError);
    }
  });
});

test("8,000 damaged files: each is either refused with an InputError or still consistent", () => {
  const random = generator(20260101);
  const headerEnd = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const telling = [...'{}[]",:0123456789-.eE\\ F'].map((character) => character.charCodeAt(0));
  let refused = 0;
  for (let i = 0; i < 8000; i++) {
    const bytes = Array.from(file);
    for (let edits = 1 + random.integer(4); edits > 0; edits--) {
      // Mostly in the header, where the structure is.
      const at = random.integer(random.uniform() < 0.9 ? headerEnd : bytes.length);
      const value = random.uniform() < 0.7 ? telling[random.integer(telling.length)]! : random.integer(256);
      const kind = random.integer(4);
      if (kind <= 1) bytes[at] = value;
      else if (kind === 2) bytes.splice(at, random.integer(6));
      else bytes.splice(at, 0, value);
    }
    try {
      const { tensors } = readSafetensors(Uint8Array.from(bytes));
      for (const { shape, data } of Object.values(tensors)) expect(data.length).toBe(sizeOf(shape));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      refused++;
    }
  }
  // Some edits change only a value or a name and must be accepted: a reader that refuses everything would pass otherwise.
  expect(refused).toBeGreaterThan(4000);
  expect(refused).toBeLessThan(8000);
}, 20_000);

describe("files", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "safetensors-test-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("are written and read back", async () => {
    const path = join(folder, "a.safetensors");
    await writeSafetensorsFile(path, expected, { a: "b" });
    expect(await readSafetensorsFile(path)).toEqual({ tensors: expected, metadata: { a: "b" } });
    expect(await readdir(folder)).toEqual(["a.safetensors"]);
  });

  test("that are missing or damaged are named", async () => {
    const missing = join(folder, "b.safetensors");
    await expect(readSafetensorsFile(missing)).rejects.toThrow(
      `core-gpu.readSafetensorsFile: must be able to read ${missing}; got no such file. Check the path.`,
    );
    await expect(readSafetensorsFile(new URL(import.meta.url).pathname)).rejects.toThrow(
      /core-gpu\.readSafetensorsFile: .*safetensors\.test\.ts must be a valid safetensors file; got a header of \d+ bytes/,
    );
  });
});
