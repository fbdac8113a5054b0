import { execFile } from "node:child_process";
import fs, { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { InputError } from "../src/errors.ts";
import { writeFileAtomic } from "../src/files.ts";

/** When set, what writing and forcing to disk do instead. */
let fault: { at: "write" | "sync"; code: string } | undefined;
const { open } = fs;
beforeAll(() => {
  fs.open = async (...args) => {
    const handle = await open(...args);
    if (fault === undefined) return handle;
    const failure = Object.assign(new Error(`${fault.code}: injected`), { code: fault.code });
    if (fault.at === "sync") handle.sync = () => Promise.reject(failure);
    else {
      // Half of the data arrives, as on a disk that fills up.
      const write = handle.writeFile.bind(handle);
      handle.writeFile = async (data) => {
        await write((data as Uint8Array).subarray(0, (data as Uint8Array).length / 2));
        throw failure;
      };
    }
    return handle;
  };
  syncBuiltinESMExports();
});
afterAll(() => {
  fs.open = open;
  syncBuiltinESMExports();
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "files-test-"));
});
afterEach(async () => {
  fault = undefined;
  await rm(folder, { recursive: true, force: true });
});

const refusal = async (write: Promise<void>): Promise<string> => {
  const error = await write.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).message;
};

test("writes bytes, views and text, and replaces an older file", async () => {
  const path = join(folder, "a.bin");
  await writeFileAtomic(path, new Uint8Array([0, 1, 2, 3, 4]).subarray(1, 4));
  expect([...(await readFile(path))]).toEqual([1, 2, 3]);
  await writeFileAtomic(path, "größer");
  expect(await readFile(path, "utf8")).toBe("größer");
  expect(await readdir(folder)).toEqual(["a.bin"]);
});

test("the longest name a folder takes can be written", async () => {
  const name = "x".repeat(255);
  await writeFileAtomic(join(folder, name), "1");
  expect(await readdir(folder)).toEqual([name]);
});

test("a reader always sees a whole file", async () => {
  const path = join(folder, "a.bin");
  const versions = [new Uint8Array(300_000).fill(1), new Uint8Array(200_000).fill(2)];
  await writeFileAtomic(path, versions[0]!);
  let writing = true;
  const reading = (async () => {
    let reads = 0;
    for (; writing; reads++) {
      const seen = await readFile(path);
      expect(versions.some((version) => seen.equals(version))).toBe(true);
    }
    return reads;
  })();
  for (let i = 1; i <= 30; i++) await writeFileAtomic(path, versions[i % 2]!);
  writing = false;
  expect(await reading).toBeGreaterThan(5);
});

describe("a failure leaves the old file and no temporary one", () => {
  test.each([
    ["ENOSPC", "write", "got a full disk. Free space for 4 bytes there"],
    ["ENOSPC", "sync", "got a full disk."],
    ["EDQUOT", "write", "got a used-up disk quota."],
    ["EIO", "sync", "got EIO: injected."],
  ] as const)("%s while the data are in %s", async (code, at, message) => {
    const path = join(folder, "a.bin");
    await writeFile(path, "old");
    fault = { at, code };
    const text = await refusal(writeFileAtomic(path, new Uint8Array(4)));
    expect(text).toContain(`core-gpu.writeFileAtomic: must be able to write ${path}; ${message}`);
    expect(await readdir(folder)).toEqual(["a.bin"]);
    expect(await readFile(path, "utf8")).toBe("old");
  });

  test.skipIf(process.platform === "win32")(
    "the kernel's file size limit, half way through",
    { timeout: 60_000 },
    async () => {
      const path = join(folder, "a.bin");
      await writeFile(path, "old");
      const source = new URL("../src/files.ts", import.meta.url).href;
      const hooks = new URL("./support/register-typescript.mjs", import.meta.url).href;
      const program = `import(${JSON.stringify(source)}).then(({ writeFileAtomic }) =>
      writeFileAtomic(${JSON.stringify(path)}, new Uint8Array(100_000))).catch((error) => console.log(error.message))`;
      const command = `ulimit -f 8; exec "$0" --import "$1" -e "$2"`;
      const { stdout } = await promisify(execFile)("bash", ["-c", command, process.execPath, hooks, program]);
      expect(stdout).toContain(`must be able to write ${path}; got the file size limit. Raise the limit (ulimit -f)`);
      expect(await readdir(folder)).toEqual(["a.bin"]);
      expect(await readFile(path, "utf8")).toBe("old");
    },
  );

  test("a folder of that name", async () => {
    const path = join(folder, "taken");
    await mkdir(path);
    expect(await refusal(writeFileAtomic(path, "x"))).toContain("got a folder of that name. Give the path of a file.");
    expect(await readdir(folder)).toEqual(["taken"]);
  });

  test("no such folder, a file where a folder should be, a name too long", async () => {
    const missing = join(folder, "no", "a.bin");
    expect(await refusal(writeFileAtomic(missing, "x"))).toContain(
      `got no folder ${join(folder, "no")}. Make it first: mkdir -p ${join(folder, "no")}`,
    );
    await writeFile(join(folder, "file"), "");
    expect(await refusal(writeFileAtomic(join(folder, "file", "a"), "x"))).toContain(
      "got a file where a folder should be",
    );
    expect(await refusal(writeFileAtomic(join(folder, "x".repeat(256)), "x"))).toContain("got a name that is too long");
    expect(await readdir(folder)).toEqual(["file"]);
  });

  const unrestricted = process.platform === "win32" || process.getuid?.() === 0;
  const why = unrestricted ? " (skipped: this user may write everywhere)" : "";
  test.skipIf(unrestricted)(`a folder without permission${why}`, async () => {
    await chmod(folder, 0o500);
    expect(await refusal(writeFileAtomic(join(folder, "a"), "x"))).toContain(
      "got no permission. Check who may write it",
    );
    await chmod(folder, 0o700);
  });
});
