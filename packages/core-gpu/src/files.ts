import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { checkArguments } from "./arguments.ts";
import { InputError } from "./errors.ts";

/**
 * Writes a file so that it is either there whole or not touched at all: the data go to a temporary file in the same
 * folder, are forced to disk and then renamed over `path`. A reader never sees half a file, and after a power cut
 * either the old or the new one is there.
 *
 * @param data Bytes, or text written as UTF-8.
 * @throws InputError when the file cannot be written (disk full, no permission, no such folder, ...). An older file of
 * that name is then unchanged and no temporary file is left.
 */
export async function writeFileAtomic(path: string, data: Uint8Array | string): Promise<void> {
  checkArguments("core-gpu.writeFileAtomic", { path: [path, "a string"], data: [data, "bytes"] });
  const folder = dirname(path);
  const name = basename(path);
  // Short enough that a legal file name never gives an illegal temporary one.
  const temporary = join(folder, `.${name.slice(0, 24)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.byteLength;
    throw fileError("core-gpu.writeFileAtomic", "write", path, error, `${bytes} bytes`);
  }
}

/** Turns a failed file operation into an InputError that says what happened and what helps. */
export function fileError(
  caller: string,
  verb: "read" | "write",
  path: string,
  error: unknown,
  size?: string,
): InputError {
  const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
  const detail = error instanceof Error ? error.message : String(error);
  const [actual, fix] = causes(verb, path, size)[code] ?? [detail, undefined];
  return new InputError(caller, `must be able to ${verb} ${path}`, actual, fix, error);
}

function causes(verb: string, path: string, size = "the data"): Readonly<Record<string, readonly [string, string?]>> {
  const full = `Free space for ${size} there, or choose another folder; nothing was changed.`;
  return {
    ENOSPC: ["a full disk", full],
    EDQUOT: ["a used-up disk quota", full],
    EFBIG: ["the file size limit", "Raise the limit (ulimit -f) or choose another folder; nothing was changed."],
    EACCES: ["no permission", `Check who may ${verb} it: ls -ld ${dirname(path)}`],
    EPERM: ["no permission", `Check who may ${verb} it: ls -ld ${dirname(path)}`],
    EROFS: ["a read-only file system", "Choose a folder that can be written to."],
    ENOENT: [
      verb === "write" ? `no folder ${dirname(path)}` : "no such file",
      verb === "write" ? `Make it first: mkdir -p ${dirname(path)}` : "Check the path.",
    ],
    ENOTDIR: [`a file where a folder should be in ${dirname(path)}`, "Check the path."],
    EISDIR: ["a folder of that name", "Give the path of a file."],
    ENAMETOOLONG: ["a name that is too long for the file system", "Choose a shorter name."],
  };
}

/**
 * Makes a folder and those above it; one that is there is left alone. Node's own way of making all never ends where a parent
 * is there and takes no folder (`/proc/x`).
 *
 * @throws InputError where it cannot be made.
 */
export async function makeFolder(caller: string, folder: string): Promise<void> {
  const missing: string[] = [];
  let at = folder;
  for (;;) {
    const found = await stat(at).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw fileError(caller, "write", folder, error);
    });
    if (found?.isDirectory()) break;
    if (found !== null || at === dirname(at)) {
      throw new InputError(caller, `must be able to make the folder ${folder}`, `a file ${at}`, "Check the path.");
    }
    missing.unshift(at);
    at = dirname(at);
  }
  for (const path of missing) {
    try {
      await mkdir(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") continue;
      const refused = code === "ENOENT" ? Object.assign(new Error(`${at} takes no folder`), { code: "" }) : error;
      throw fileError(caller, "write", folder, refused);
    }
  }
}

/** Forces a folder's entries to disk, so that a rename in it survives a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders; there the rename itself is durable enough.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
