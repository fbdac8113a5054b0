import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const HOOK = new URL("../../../packages/core-gpu/test/support/register-typescript.mjs", import.meta.url).href;

/** Starts a TypeScript file of this app in a process of its own. */
export function startNode(
  file: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return spawn(process.execPath, ["--conditions=source", "--import", HOOK, path, ...args], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Waits for a process's end and gives what it printed. */
export async function ended(
  child: ChildProcess,
): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk) => (stdout += chunk));
  child.stderr?.on("data", (chunk) => (stderr += chunk));
  return new Promise((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
