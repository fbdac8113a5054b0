import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { HOOK } from "./child.ts";
import { temporaryFolder } from "./helpers.ts";

/** util-linux's `script` runs a command on a terminal of its own. */
const hasTerminal = spawnSync("script", ["--version"]).status === 0 && process.platform === "linux";

it.skipIf(!hasTerminal)(
  "Ctrl-C on a terminal ends a run with 130, says how to go on, and leaves the terminal as it was",
  async () => {
    const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
    const out = await temporaryFolder();
    const command = [
      process.execPath,
      "--conditions=source",
      "--import",
      HOOK,
      cli,
      "run",
      "staged-overhead",
      "--out",
      out,
    ];
    const terminal = spawn("script", ["-qec", command.map((part) => `'${part}'`).join(" "), "/dev/null"], {
      env: { ...process.env, EXITKIT_DATA: "" },
    });
    let printed = "";
    terminal.stdout.on("data", (chunk) => {
      const before = printed;
      printed += chunk;
      // Once it measures: the key itself, as the terminal sends it.
      if (!before.includes("timing") && printed.includes("timing")) terminal.stdin.write("\u0003");
    });
    const code = await new Promise((resolve) => terminal.on("close", resolve));
    expect(printed).toContain("stopped; the same command goes on where this one was");
    expect(code).toBe(130);
    expect(printed).not.toContain("\u001b[?25l");
  },
  120_000,
);

it.skipIf(process.platform === "win32").each(["list", "doctor"])(
  "%s ends well where its reader goes away, as head does",
  (command) => {
    const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
    const line = ["--conditions=source", "--import", HOOK, cli, command].map((part) => `'${part}'`).join(" ");
    const script = `set -o pipefail; '${process.execPath}' ${line} | head -1`;
    const { status, stdout, stderr } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
    expect({ status, stderr, lines: stdout.trimEnd().split("\n").length }).toEqual({ status: 0, stderr: "", lines: 1 });
  },
);
