import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ColumnSources,
  type EarlyExitColumns,
  generator,
  hashSamples,
  loadSelection,
  pruneBy,
  pruneByEarlyExit,
  readColumns,
  readNpyTensor,
  type Selection,
  saveSelection,
} from "../src/index.ts";

const written = (name: string): string => join(import.meta.dirname, "../fixtures/columns", name);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "eeprune-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const here = (name: string): string => join(folder, name);

describe("npy, as NumPy wrote it", () => {
  it.each(["c-f4", "fortran-f4", "big-f8", "fortran-big-i4"])("%s: a 2 × 3 array reads the same", async (name) => {
    const { shape, data } = await readNpyTensor(written(`${name}.npy`));
    expect([shape, Array.from(data, Number)]).toEqual([
      [2, 3],
      [1, 2, 3, 4, 5, 6],
    ]);
  });

  it("three dimensions in Fortran order", async () => {
    const { shape, data } = await readNpyTensor(written("three.npy"));
    expect([shape, [...data]]).toEqual([[2, 3, 4], Array.from({ length: 24 }, (_, i) => i)]);
  });

  it("int64 beyond 2⁵³, unsigned, short, booleans", async () => {
    expect([...(await readNpyTensor(written("i8.npy"))).data]).toEqual([0n, 1n, 2n, 2n ** 53n + 1n]);
    expect([...(await readNpyTensor(written("u8.npy"))).data]).toEqual([0, 1, 7]);
    expect([...(await readNpyTensor(written("i2.npy"))).data]).toEqual([-3, 300]);
    expect([...(await readNpyTensor(written("bool.npy"))).data]).toEqual([1, 0, 1]);
  });

  it("is refused: float16, another kind of file, a file that is cut short, a missing one", async () => {
    await expect(readNpyTensor(written("half.npy"))).rejects.toThrow(
      /must be an npy file of numbers; got elements of type f2/,
    );
    await writeFile(here("text.npy"), "hello, hello");
    await expect(readNpyTensor(here("text.npy"))).rejects.toThrow(/got another kind of file/);
    const whole = await readFile(written("c-f4.npy"));
    for (const length of [7, 9, 60, whole.length - 1]) {
      await writeFile(here("short.npy"), whole.subarray(0, length));
      await expect(readNpyTensor(here("short.npy"))).rejects.toThrow(expect.objectContaining({ name: "InputError" }));
    }
    await expect(readNpyTensor(here("none.npy"))).rejects.toThrow(/must be able to read .*none.npy/);
  });
});

/** Writes a file and names it. */
const file = async (name: string, text: string | Uint8Array): Promise<string> => {
  await writeFile(here(name), text);
  return here(name);
};

const options = { classes: 3, ratio: 1 / 3, generator: generator(1) };

describe("columns", () => {
  const npy: ColumnSources = {
    labels: written("labels.npy"),
    earlyPrediction: written("early.npy"),
    finalPrediction: written("final.npy"),
    earlyConfidence: written("sure.npy"),
  };
  const csv =
    'labels,note,earlyPrediction,finalPrediction,earlyConfidence,ids\n0,a,0,0,.9,5\n0,b,1,0,.99,3\n1,"c,d",1,1,.8,4\n';

  it("from npy, int64 and big-endian among them", async () => {
    expect([...pruneByEarlyExit(await readColumns(npy), options).pruned]).toEqual([0, 2]);
  });

  it("from Parquet, as PyArrow wrote it, by their names and by others", async () => {
    const columns = await readColumns(written("predictions.parquet"));
    expect([...pruneByEarlyExit(columns, options).pruned]).toEqual([0, 2]);
    const at = { file: written("predictions.parquet"), column: "labels" };
    const mixed = await readColumns({ ...npy, labels: at, ids: at });
    expect(Array.from(mixed.labels as ArrayLike<number>)).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it("from CSV, with text beside and ids", async () => {
    await writeFile(here("p.csv"), `\uFEFF${csv}`);
    const columns = await readColumns(here("p.csv"));
    expect(columns).toEqual({
      labels: Float64Array.of(0, 0, 1),
      earlyPrediction: Float64Array.of(0, 1, 1),
      finalPrediction: Float64Array.of(0, 0, 1),
      earlyConfidence: Float64Array.of(0.9, 0.99, 0.8),
      ids: Float64Array.of(5, 3, 4),
    } satisfies EarlyExitColumns);
  });

  const par1 = Buffer.from("PAR1");
  const refusals: readonly [string, () => Promise<unknown> | unknown, RegExp][] = [
    ["nothing", () => undefined, /sources must be a file, or a record of files; got undefined/],
    ["an unknown kind of file", () => "columns.txt", /a table must be a .csv or .parquet file; got columns.txt/],
    ["an npy file alone", () => written("labels.npy"), /a table must be a .csv or .parquet file/],
    [
      "an npy file of two dimensions",
      () => ({ ...npy, labels: written("c-f4.npy") }),
      /must have one dimension; got \[2, 3\]/,
    ],
    ["an unknown column", () => ({ ...npy, label: "a.npy" }), /columns are labels,.* got "label"/],
    [
      "a column without a place",
      () => ({ ...npy, labels: undefined }),
      /sources must say where labels is; got nothing/,
    ],
    [
      "a missing column",
      () => ({ ...npy, labels: { file: written("predictions.parquet"), column: "y" } }),
      /predictions.parquet must have the column y/,
    ],
    ["a missing file", () => here("none.csv"), /must be able to read .*none.csv/],
    ["a missing Parquet file", () => here("none.parquet"), /must be able to read .*none.parquet/],
    [
      "a hole in Parquet",
      () => written("hole.parquet"),
      /earlyConfidence in .*hole.parquet must be numbers; got .* in row 1/,
    ],
    [
      "text for a number",
      () => file("t.csv", csv.replace(".99", "high")),
      /earlyConfidence in .*t.csv must be numbers; got "high" in row 1/,
    ],
    ["an empty cell", () => file("e.csv", csv.replace(".99", "")), /got "" in row 1/],
    ["a row that is too short", () => file("s.csv", `${csv}1,2\n`), /must be able to read .*s.csv/],
    ["an empty file", () => file("0.csv", ""), /must begin with the names of its columns/],
    [
      "a file without a needed column",
      () => file("n.csv", csv.replace("labels", "y")),
      /n.csv must have the column labels/,
    ],
    ["a Parquet file that is none", () => file("x.parquet", csv), /must be able to read .*x.parquet/],
    // A footer of one list of 2³⁰ numbers, in 22 bytes.
    [
      "a list that is longer than the file",
      () =>
        file("l.parquet", Uint8Array.from([...par1, 0x19, 0xf5, 128, 128, 128, 128, 4, 0, 0, 0, 10, 0, 0, 0, ...par1])),
      /must be able to read .*l.parquet; got a list of 1073741824 where 3 bytes are left/,
    ],
  ];
  it.each(refusals)("are refused: %s", async (_, sources, message) => {
    const attempt = readColumns((await sources()) as ColumnSources);
    await expect(attempt).rejects.toThrow(message);
    await expect(readColumns((await sources()) as ColumnSources)).rejects.toThrow(
      expect.objectContaining({ name: "InputError" }),
    );
  });
});

it.skipIf(!existsSync("/proc/self/fd"))("a broken table leaves no file open", async () => {
  const open = async () => (await readdir("/proc/self/fd")).length;
  const long = `labels,earlyPrediction\n${"0,0\n".repeat(50_000)}`;
  const broken = await file("broken.csv", long.replace("\n", "\n1,2,3\n"));
  const attempt = () => readColumns(broken).catch((error: Error) => error.message);
  expect(await attempt()).toMatch(/must be able to read .*broken.csv/);
  const before = await open();
  for (let time = 0; time < 30; time++) await attempt();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await open()).toBeLessThan(before + 5);
});

describe("a selection", () => {
  const labels = [0, 0, 0, 1, 1, 1];
  const data = hashSamples({ labels });
  const selection = pruneBy("random", { labels, classes: 2 }, { ratio: 0.5, balanced: true, generator: generator(1) });

  it.each(["npy", "jsonl", "csv"])("comes back from %s as it was", async (ending) => {
    await saveSelection(here(`kept.${ending}`), selection, { data });
    expect(await loadSelection(here(`kept.${ending}`), { data })).toEqual(selection);
  });

  it("is what other tools read: lines, rows, int64", async () => {
    const small: Selection = { ...selection, kept: Int32Array.of(1), pruned: Int32Array.of(0, 2) };
    await saveSelection(here("small.csv"), small, { data });
    await saveSelection(here("small.jsonl"), small, { data });
    await saveSelection(here("small.npy"), small, { data });
    expect(await readFile(here("small.csv"), "utf8")).toBe("id,kept\n0,0\n1,1\n2,0\n");
    expect(await readFile(here("small.jsonl"), "utf8")).toBe(
      '{"id":0,"kept":false}\n{"id":1,"kept":true}\n{"id":2,"kept":false}\n',
    );
    const { dtype, shape, data: ids } = await readNpyTensor(here("small.npy"));
    expect([dtype, shape, [...ids]]).toEqual(["int64", [1], [1n]]);
    // NumPy wants the data to begin at a multiple of 64 bytes.
    expect((await readFile(here("small.npy"))).length % 64).toBe(8);
  });

  it("whatever ids and whatever is kept", async () => {
    const ids = fc.uniqueArray(fc.nat(1e6), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(ids, fc.nat(30), fc.constantFrom("csv", "jsonl"), async (all, count, ending) => {
        const [kept, pruned] = [all.slice(0, count), all.slice(count)].map((part) => Int32Array.from(part).sort());
        const some = { ...selection, kept: kept!, pruned: pruned!, warnings: ["one"] };
        await saveSelection(here(`some.${ending}`), some, { data });
        expect(await loadSelection(here(`some.${ending}`), { data })).toEqual(some);
      }),
      { numRuns: 30 },
    );
  });

  it("is refused for other data, or where a file was changed or is missing", async () => {
    const path = here("bound.csv");
    await saveSelection(path, selection, { data });
    await expect(loadSelection(path, { data: hashSamples({ labels: [0, 0, 0, 1, 1, 0] }) })).rejects.toThrow(
      /must be a selection of the data .* Its ids name samples of other data/,
    );
    await writeFile(path, "id,kept\n0,1\n");
    await expect(loadSelection(path, { data })).rejects.toThrow(
      /must be the file that .*bound.csv.json names; got another one/,
    );
    await writeFile(`${path}.json`, "{");
    await expect(loadSelection(path, { data })).rejects.toThrow(/must be JSON/);
    await writeFile(`${path}.json`, "{}");
    await expect(loadSelection(path, { data })).rejects.toThrow(/must describe a selection/);
    await rm(`${path}.json`);
    await expect(loadSelection(path, { data })).rejects.toThrow(/must be able to read/);
  });

  it("is written whole or not at all, and leaves nothing else", async () => {
    const at = await mkdtemp(join(folder, "whole-"));
    await saveSelection(join(at, "a.csv"), selection, { data });
    expect((await readdir(at)).sort()).toEqual(["a.csv", "a.csv.json"]);
    await expect(saveSelection(join(at, "none", "a.csv"), selection, { data })).rejects.toThrow(/no folder/);
    expect((await readdir(at)).sort()).toEqual(["a.csv", "a.csv.json"]);
  });

  const refusals: readonly [string, unknown, unknown, unknown, RegExp][] = [
    ["another ending", "kept.txt", selection, { data }, /path must end in .npy, .jsonl, .csv; got kept.txt/],
    ["no path", undefined, selection, { data }, /path must end in/],
    ["no hash", "kept.csv", selection, undefined, /options.data must be the hash/],
    ["no selection", "kept.csv", {}, { data }, /selection must be what a pruning function gave/],
    ["ids in an npy file", "kept.npy", { ...selection, kept: Int32Array.of(9) }, { data }, /ids must be 0 … n − 1/],
  ];
  it.each(refusals)("is refused: %s", async (_, path, given, asked, message) => {
    await expect(saveSelection(path as string, given as Selection, asked as { data: string })).rejects.toThrow(message);
  });
});

describe("the hash of data", () => {
  it("is of names, types, shapes and values, in whatever order they are named", () => {
    const x = tensor("float32", [2, 2], [1, 2, 3, 4]);
    const first = hashSamples({ x, labels: [0, 1] });
    expect(hashSamples({ labels: [0, 1], x })).toBe(first);
    const others = [
      hashSamples({ x }),
      hashSamples({ x, labels: [1, 0] }),
      hashSamples({ x, label: [0, 1] }),
      hashSamples({ x: { ...x, shape: [4, 1] }, labels: [0, 1] }),
      hashSamples({ x: tensor("float64", [2, 2], [1, 2, 3, 4]), labels: [0, 1] }),
    ];
    expect(new Set([first, ...others]).size).toBe(6);
    expect(hashSamples({ x: { ...x, data: new Float32Array([9, 1, 2, 3, 4]).subarray(1) }, labels: [0, 1] })).toBe(
      first,
    );
  });

  it("is refused for nothing and for what is no data", () => {
    expect(() => hashSamples({})).toThrow(/must name at least one/);
    expect(() => hashSamples(undefined as never)).toThrow(/must name at least one/);
    expect(() => hashSamples({ x: 3 as never })).toThrow(/x must be a tensor or a column/);
  });
});

describe("a selection whose JSON names its file, but whose lines are not those", () => {
  const data = hashSamples({ labels: [0, 0, 1, 1] });
  const options = { ratio: 0.5, balanced: true, generator: generator(1) };
  const loaded = async (ending: string, content: string) => {
    const path = here(`named.${ending}`);
    await saveSelection(path, pruneBy("random", { labels: [0, 0, 1, 1], classes: 2 }, options), { data });
    const json = JSON.parse(await readFile(`${path}.json`, "utf8"));
    await writeFile(path, content);
    json.file.sha256 = createHash("sha256").update(content).digest("hex");
    await writeFile(`${path}.json`, JSON.stringify(json));
    return loadSelection(path, { data });
  };

  it("is what it was saved as, in any order of the lines", async () => {
    const { kept, pruned } = await loaded("csv", "id,kept\n3,1\n0,0\n1,1\n2,0\n");
    expect([Array.from(kept), Array.from(pruned)]).toEqual([
      [3, 1],
      [0, 2],
    ]);
  });

  it.each([
    ["csv", "id,kept\n0,1\n1,1\n2,0\n", "3 lines, 3 different ids, 2 kept"],
    ["csv", "id,kept\n0,1\n0,1\n2,0\n3,0\n", "4 lines, 3 different ids, 2 kept"],
    ["csv", "id,kept\n0,1\n1,1\n2,1\n3,0\n", "3 kept"],
    ["csv", "id,kept\nx,1\n1,1\n2,0\n3,0\n", '"x,1"'],
    ["csv", "id,kept\n9999999999,1\n1,1\n2,0\n3,0\n", "4 different ids"],
    ["jsonl", '{"id":0,"kept":true}\n{"id":1', '"{"id":1"'],
    ["jsonl", "null\n", '"null"'],
    ["jsonl", '{"id":{},"kept":true}\n', '"{"id":{},"kept":true}"'],
  ])("%s %j is refused", async (ending, content, actual) => {
    await expect(loaded(ending, content)).rejects.toThrow(
      new RegExp(`must say of 4 samples, each once, that 2 are kept; got .*${actual.replace(/[{}]/g, "\\$&")}`),
    );
  });
});
