import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { tokenizerOfFolder } from "../src/tokenizers/folder.ts";
import { tokenizerOfGguf } from "../src/tokenizers/gguf.ts";
import { openGguf } from "../src/weights/gguf.ts";

interface Row {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded: string;
}

// Made by fixtures/generate_gguf.py.
const fixtures = fileURLToPath(new URL("../fixtures/gguf/", import.meta.url));
const golden = JSON.parse(readFileSync(`${fixtures}tokenizers.json`, "utf8")) as {
  readonly bytes: readonly Row[];
  readonly pieces: readonly Row[];
  readonly folders: Readonly<
    Record<"begins" | "plain", { readonly tokenizer: object; readonly golden: readonly Row[] }>
  >;
};
const stories = fileURLToPath(new URL("../../../apps/bench/assets/llm-stories260k", import.meta.url));

const work = await mkdtemp(join(tmpdir(), "tokenizers-"));
afterAll(() => rm(work, { recursive: true }));

async function metadataOf(name: string): Promise<Record<string, unknown>> {
  const file = await openGguf("test", `${fixtures}${name}`);
  await file.close();
  return { ...file.metadata };
}

/** A folder of a model with this tokenizer and these settings. */
async function folderOf(tokenizer: object, settings?: object): Promise<string> {
  const folder = await mkdtemp(join(work, "folder-"));
  await writeFile(join(folder, "config.json"), JSON.stringify({ bos_token_id: 1, eos_token_id: 2 }));
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  if (settings !== undefined) await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(settings));
  return folder;
}

function idsOf(rows: readonly Row[], encode: (text: string) => readonly number[]) {
  return rows.map(({ text }) => encode(text));
}

describe("a GGUF file's own vocabulary", () => {
  test("byte-level pairs equal the tokenizers library: spaces, tabs, emoji, numbers, a special token in text", async () => {
    const tokenizer = tokenizerOfGguf("test", "bytes.gguf", await metadataOf("bytes.gguf"))!;
    expect(idsOf(golden.bytes, tokenizer.encode)).toEqual(golden.bytes.map(({ ids }) => ids));
    for (const { ids, decoded } of golden.bytes) expect(tokenizer.decode(ids)).toBe(decoded);
    expect([tokenizer.vocabulary, tokenizer.beginOfText, tokenizer.endOfText]).toEqual([320, 1, 2]);
    expect(tokenizer.piece(1)).toBe("<|im_start|>");
  });

  test("pieces with scores equal SentencePiece's rule", async () => {
    const tokenizer = tokenizerOfGguf("test", "pieces.gguf", await metadataOf("pieces.gguf"))!;
    expect(idsOf(golden.pieces, tokenizer.encode)).toEqual(golden.pieces.map(({ ids }) => ids));
    for (const { ids, decoded } of golden.pieces) expect(tokenizer.decode(ids)).toBe(decoded);
  });

  test("begin-of-text is added where the file says so, once", async () => {
    const metadata = await metadataOf("bytes.gguf");
    const plain = tokenizerOfGguf("test", "x", metadata)!;
    const begins = tokenizerOfGguf("test", "x", { ...metadata, "tokenizer.ggml.add_bos_token": true })!;
    const ids = plain.encode("Hello");
    expect(begins.encode("Hello")).toEqual([1, ...ids]);
    expect(begins.encode("Hello", { special: false })).toEqual(ids);
    expect(begins.encode("")).toEqual([1]);
  });

  test("what is wrong is named", async () => {
    const metadata = await metadataOf("bytes.gguf");
    const open = (changes: object) => () => tokenizerOfGguf("test", "x", { ...metadata, ...changes });
    expect(open({ "tokenizer.ggml.model": "t5" })).toThrow(/must be of the kind "gpt2" or "llama"; got "t5"/);
    expect(open({ "tokenizer.ggml.pre": "poro" })).toThrow(/how text is cut: one of gpt-2, .*; got "poro"/);
    expect(open({ "tokenizer.ggml.merges": undefined })).toThrow(/must have a list of merges; got undefined/);
    expect(open({ "tokenizer.ggml.token_type": [1] })).toThrow(/a type for each of its 320 tokens; got 1/);
    expect(open({ "tokenizer.ggml.bos_token_id": 320 })).toThrow(
      /must hold the token that bos_token_id names; got 320/,
    );
    expect(tokenizerOfGguf("test", "x", {})).toBeNull();
  });
});

describe("a folder", () => {
  test.each(["begins", "plain"] as const)("tokenizer.json that %s", async (name) => {
    const { tokenizer, golden: rows } = golden.folders[name];
    const read = (await tokenizerOfFolder("test", await folderOf(tokenizer)))!;
    expect(idsOf(rows, read.encode)).toEqual(rows.map(({ ids }) => ids));
    for (const { ids, decoded } of rows) expect(read.decode(ids)).toBe(decoded);
  });

  test("begin-of-text by tokenizer.json and by add_bos_token: as both say, never two", async () => {
    const settings = (add_bos_token?: boolean) => ({ bos_token: { content: "<|im_start|>" }, add_bos_token });
    const ids = async (name: "begins" | "plain", add?: boolean) => {
      const folder = await folderOf(golden.folders[name].tokenizer, settings(add));
      return (await tokenizerOfFolder("test", folder))!.encode("Hello");
    };
    const plain = await ids("plain");
    expect(plain).not.toContain(1);
    for (const [name, add, begins] of [
      ["begins", undefined, true],
      ["begins", true, true],
      ["begins", false, false],
      ["plain", true, true],
      ["plain", false, false],
    ] as const) {
      expect(await ids(name, add), `${name} ${add}`).toEqual(begins ? [1, ...plain] : plain);
    }
  });

  test("llama2.c's pieces", async () => {
    const tokenizer = (await tokenizerOfFolder("test", stories))!;
    expect(idsOf(golden.pieces, tokenizer.encode)).toEqual(golden.pieces.map(({ ids }) => ids));
    for (const { ids, decoded } of golden.pieces) expect(tokenizer.decode(ids)).toBe(decoded);
    expect([tokenizer.vocabulary, tokenizer.beginOfText, tokenizer.endOfText]).toEqual([512, 1, 2]);
  });

  test("pieces that are cut short are refused; a folder without a tokenizer has none", async () => {
    const folder = join(work, "stories");
    await cp(stories, folder, { recursive: true });
    await writeFile(join(folder, "tokens.json"), JSON.stringify([{ id: 0, piece: "a", score: 0 }]));
    await expect(tokenizerOfFolder("test", folder)).rejects.toThrow(/must list \{ id, piece, score \} of every token/);
    await rm(join(folder, "tokens.json"));
    expect(await tokenizerOfFolder("test", folder)).toBeNull();
  });
});
