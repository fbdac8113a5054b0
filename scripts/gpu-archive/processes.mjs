// Other processes, for check.mjs.
// @ts-check
import { execFile, spawn } from "node:child_process";
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
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script], { env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let log = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      log += text;
    });
    child.on("close", (code, signal) => {
      const line = out.split("\n").find((text) => text.startsWith("REPORT"));
      const report = line === undefined ? undefined : JSON.parse(line.slice("REPORT".length));
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
