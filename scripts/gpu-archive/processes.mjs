// Other processes, for check.mjs.
// @ts-check
import { execFile, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * Runs a script of Node's to its end, whatever that is.
 *
 * @param {string} script
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ report: any; log: string; ended: string }>} `report`: what it printed behind REPORT; `log`: its standard
 * error; `ended`: exit status or signal.
 */
export function runScript(script, env) {
  // A driver's many small writes would be lost in a pipe that is not read at once.
  const folder = mkdtempSync(join(tmpdir(), "exitkit-log-"));
  const file = join(folder, "log");
  const target = openSync(file, "w");
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script], { env, stdio: ["ignore", "pipe", target] });
    let out = "";
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      out += text;
    });
    child.on("close", (code, signal) => {
      const line = out.split("\n").find((text) => text.startsWith("REPORT"));
      const report = line === undefined ? undefined : JSON.parse(line.slice("REPORT".length));
      const log = readFileSync(file, "utf8");
      closeSync(target);
      rmSync(folder, { recursive: true });
      resolve({ report, log, ended: signal ?? `exit status ${code}` });
    });
  });
}

/**
 * What a command prints; null where it does not work.
 *
 * @param {string} command
 * @param {readonly string[]} args
 */
export async function outputOf(command, args) {
  try {
    return (await promisify(execFile)(command, args)).stdout.trim();
  } catch {
    return null;
  }
}
