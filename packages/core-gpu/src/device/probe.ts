import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import type { DeviceKind } from "./device.ts";

/** What a probe saw: facts, not yet a verdict. */
export interface Probe {
  /** How the probing process ended. */
  readonly ended: "normally" | "timeout" | "crash";
  /** Signal or exit status of a crash. */
  readonly crash: string | null;
  /** Execution providers this build of the runtime has; `null` if the runtime itself does not load. */
  readonly providers: readonly string[] | null;
  /** Whether the small network ran and gave the right numbers. */
  readonly right: boolean;
  /** The error it ended with instead, if any. */
  readonly error: string | null;
  /** What drivers and the runtime wrote to standard error. */
  readonly log: string;
  /** File names of the graphics and compute libraries that were loaded (Linux only). */
  readonly libraries: readonly string[];
}

/** y = x · w for x [1, 2] and w = [[1, 2], [3, 4]], operator set 17. */
const network =
  "CAg6YQoRCgF4CgF3EgF5IgZNYXRNdWwSBXByb2JlKhsIAggCEAFCAXdKEAAAgD8AAABAAABAQAAAgEBaEwoBeBIOCgwIARIICgIIAQoCCAJiEwoBeRIOCgwIARIICgIIAQoCCAJCBAoAEBE=";

// Runs in a process of its own: a broken graphics driver may hang or kill the process that touches it.
const script = `
const { readFileSync } = require("node:fs");
const [, runtime, kind] = process.argv;
const seen = { providers: null, right: false, error: null, libraries: [] };
const finish = () => {
  try {
    const paths = readFileSync("/proc/self/maps", "utf8").split("\\n").map((line) => line.split("/").at(-1));
    seen.libraries = [...new Set(paths)].filter((name) => /vulkan|swiftshader|nvidia|cuda|cudnn|dozen/i.test(name));
  } catch {}
  process.stdout.write("\\nPROBE" + JSON.stringify(seen) + "\\n", () => process.exit(0));
};
(async () => {
  const ort = require(runtime);
  seen.providers = ort.listSupportedBackends().map(({ name }) => name);
  const session = await ort.InferenceSession.create(Buffer.from("${network}", "base64"), { executionProviders: [kind] });
  const { y } = await session.run({ x: new ort.Tensor("float32", [1, 10], [1, 2]) });
  seen.right = y.data[0] === 31 && y.data[1] === 42;
  await session.release();
})().catch((error) => { seen.error = String(error?.message ?? error); }).finally(finish);
`;

/**
 * Runs a small network on a device in a child process.
 *
 * @param timeout Milliseconds after which the child is killed.
 */
export function probe(kind: DeviceKind, timeout: number): Promise<Probe> {
  const runtime = createRequire(import.meta.url).resolve("onnxruntime-node");
  // NODE_OPTIONS may hold loaders and inspectors meant for the parent.
  const { NODE_OPTIONS: _, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["-e", script, runtime, kind],
      { timeout, killSignal: "SIGKILL", env, maxBuffer: 2 ** 24 },
      (failure, stdout, stderr) => {
        const line = stdout.split("\n").findLast((text) => text.startsWith("PROBE"));
        const seen = line === undefined ? {} : JSON.parse(line.slice("PROBE".length));
        const ended = failure === null ? "normally" : failure.killed ? "timeout" : "crash";
        const crash = ended === "crash" ? (failure?.signal ?? `exit status ${failure?.code}`) : null;
        const nothing = { providers: null, right: false, error: null, libraries: [] };
        resolve({ ...nothing, ...seen, ended, crash, log: stderr });
      },
    );
  });
}
