// Shared by the other scripts: the pinned pnpm and the workspace's own tools, run from the repository root.
// @ts-check
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a command; resolves to its exit code and, when `capture`, to what it printed. */
export function run(command, args, { cwd = root, quiet = false, env = {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      stdio: ["ignore", quiet ? "pipe" : "inherit", quiet ? "pipe" : "inherit"],
      shell: process.platform === "win32",
      env: {
        ...process.env,
        TURBO_TELEMETRY_DISABLED: "1",
        DO_NOT_TRACK: "1",
        PATH: `${join(root, "node_modules", ".bin")}${delimiter}${process.env.PATH}`,
        ...env,
      },
    });
    let output = "";
    let stdout = "";
    child.stdout?.on("data", (chunk) => {
      output += chunk;
      stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      output += chunk;
    });
    // Ctrl-C reaches the child too: what it says and returns is waited for.
    const wait = () => {};
    process.on("SIGINT", wait);
    child.on("close", () => process.off("SIGINT", wait));
    child.on("error", (error) => resolve({ code: 127, output: String(error), stdout }));
    child.on("close", (code) => resolve({ code: code ?? 1, output, stdout }));
  });
}

/** Runs the pnpm version that package.json pins, fetched by npx when it is not there. */
export function pnpm(args, options) {
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return run("npx", ["--yes", packageManager, ...args], options);
}

/** Runs a task in every package. turbo looks for pnpm on the PATH, where `pnpm exec` puts the pinned one. */
export function turbo(task, options) {
  return pnpm(["exec", "turbo", "run", task, "--output-logs=errors-only"], options);
}

/** Installs what the lockfile says and builds every package; stops the process with the output of a step that fails. */
export async function installAndBuild(say = (/** @type {string} */ line) => process.stderr.write(`${line}\n`)) {
  const steps = [
    ["installing packages", () => pnpm(["install", "--frozen-lockfile", "--prefer-offline"], { quiet: true })],
    ["building", () => turbo("build", { quiet: true })],
  ];
  for (const [title, step] of steps) {
    say(`${title} ...`);
    const { code, output } = await step();
    if (code !== 0) {
      process.stderr.write(`${output}\n${title} failed (exit code ${code}).\n`);
      process.exit(1);
    }
  }
}

/** The experiments with a check, in order. They are there when bench is built. */
export async function checked() {
  const { EXPERIMENTS } = await import(new URL("../apps/bench/dist/experiments/index.js", import.meta.url).href);
  return EXPERIMENTS.filter(({ check }) => check !== undefined);
}
