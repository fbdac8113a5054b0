import os from "node:os";
import { diagnoseDevices } from "@exitkit/core-gpu";
import { dataDirectory, findDataset, openDataset, type PictureSet } from "../data/directory.ts";
import { SETS } from "../data/source.ts";
import { tableOf } from "../report/table.ts";
import { describeEnvironment } from "../runs/environment.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { readWeights, WEIGHTS } from "../zoo/weights.ts";

/** One thing looked at: `ok`, `fails` (needed, and not there) or `absent` (would be used if it were there). */
interface Check {
  readonly name: string;
  readonly state: "ok" | "absent" | "fails";
  readonly found: string;
  readonly fix: string | null;
}

/** Least Node version: the first with everything used here. */
const NODE: readonly [number, number] = [20, 19];

/** `bench doctor`: what works on this machine. */
export async function checkUp(options: { readonly data?: string }, terminal: Terminal): Promise<boolean> {
  const checks = await doctor(options.data);
  terminal.table(
    tableOf(checks, [
      ["", "state"],
      ["check", "name"],
      ["found", "found"],
    ]),
  );
  for (const { name, fix } of checks) if (fix !== null) terminal.line(`${name}: ${fix}`);
  const ok = checks.every(({ state }) => state !== "fails");
  terminal.line(ok ? "Everything needed is here." : "Something needed is missing: see above.");
  terminal.result({ ok, checks });
  return ok;
}

/**
 * Looks at everything the experiments need: Node, onnxruntime, each device by really running on it, memory, load, the data
 * sets and the weights by their sums.
 *
 * @param data The `--data` option.
 */
async function doctor(data: string | undefined): Promise<readonly Check[]> {
  const environment = await describeEnvironment();
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const recent = major > NODE[0] || (major === NODE[0] && minor >= NODE[1]);
  const free = os.freemem() / 2 ** 30;
  const busy = environment.loadAverage[0]! / environment.cores;
  return [
    check("Node", recent, environment.node, `Install Node ${NODE.join(".")} or newer.`),
    check("onnxruntime-node", true, environment.onnxruntime),
    ...(await devices()),
    check("processor", true, `${environment.cores} cores, ${environment.cpu}`),
    absent("idle", busy < 0.5, `load ${environment.loadAverage[0]!.toFixed(2)}`, "Stop other work before timing."),
    absent("memory", free >= 2, `${free.toFixed(1)} GiB free`, "The full presets want 2 GiB free."),
    ...(await datasets(data)),
    ...(await Promise.all(
      Object.keys(WEIGHTS).map((name) =>
        attempt(`weights ${name}`, async () => (await readWeights(name as keyof typeof WEIGHTS)).file.name),
      ),
    )),
  ];
}

async function devices(): Promise<readonly Check[]> {
  const diagnoses = await diagnoseDevices();
  return diagnoses.map(({ kind, available, reason, fix }) => ({
    name: `device ${kind}`,
    state: available ? "ok" : kind === "cpu" ? "fails" : "absent",
    found: reason,
    fix: available ? null : fix,
  }));
}

/** Every data set that is somewhere, read; one that is nowhere would be used if it were. */
async function datasets(data: string | undefined): Promise<readonly Check[]> {
  const folder = await dataDirectory(data).catch((error: Error) => error);
  if (folder instanceof Error) return [await attempt("data folder", () => Promise.reject(folder))];
  return Promise.all(
    Object.values(SETS).map(async (set: PictureSet) => {
      const { name } = set.editions[0]!;
      const there = await findDataset(set, folder).catch(() => true);
      if (there === null) return absent(name, false, "not in the data folder, nor in the repository", set.fix);
      return attempt(name, async () => (await openDataset(set, folder)).about);
    }),
  );
}

function check(name: string, ok: boolean, found: string, fix: string | null = null): Check {
  return { name, state: ok ? "ok" : "fails", found, fix: ok ? null : fix };
}

function absent(name: string, ok: boolean, found: string, fix: string): Check {
  return { name, state: ok ? "ok" : "absent", found, fix: ok ? null : fix };
}

async function attempt(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return check(name, true, await look());
  } catch (error) {
    return { name, state: "fails", found: (error as Error).message, fix: "See the message." };
  }
}
