// Processes that a drill starts and kills. They read the sources: nothing has to be built.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const HOOK = at("packages/core-gpu/test/support/register-typescript.mjs");

/**
 * Starts a TypeScript file of the repository.
 *
 * @returns `{ ready, kill, ended }`: `ready` holds when it has printed something or has ended, `ended` becomes `{ code, signal, stdout, stderr }`.
 */
export function start(file, ...args) {
  const child = spawn(process.execPath, ["--conditions", "source", "--import", HOOK, at(file), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const ready = new Promise((resolve) => {
    child.stdout.on("data", (text) => {
      stdout += text;
      resolve();
    });
    child.on("close", resolve);
  });
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal, stdout, stderr }));
  return { ready, ended, kill: () => child.kill("SIGKILL") };
}
