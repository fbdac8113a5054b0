import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError, readSafetensors, type Tensor } from "@exitkit/core-gpu";
import { z } from "zod";
import { environmentSchema } from "./environment.ts";
import { decodeValue } from "./values.ts";

/** Plain data that decides a run's results: experiment, preset, seed, device, data set edition. */
export type RunConfig = Readonly<Record<string, unknown>>;

const caller = "bench.run";

/** The config.json of an earlier run in this folder; null where it has none. @throws InputError where it holds other files. */
export async function earlierConfig(path: string): Promise<string | null> {
  const names = await readdir(path);
  if (names.includes("config.json")) return readFile(join(path, "config.json"), "utf8");
  const others = names.filter((name) => name !== "steps" && !name.startsWith("."));
  if (others.length > 0) {
    throw new InputError(
      caller,
      `${path} must be a new folder or hold a run`,
      `other files (${others.slice(0, 3).join(", ")})`,
      "Pass another --out.",
    );
  }
  return null;
}

/** What config.json holds. */
export const configText = (config: RunConfig): string => `${JSON.stringify(config, null, 2)}\n`;

/** @throws InputError where config.json holds another config, naming what differs. */
export function refuseOtherConfig(path: string, earlier: string, config: RunConfig): void {
  if (earlier === configText(config)) return;
  throw new InputError(
    caller,
    `${path} must be a new folder or hold a run of the same config`,
    `another config (${differences(earlier, config)})`,
    "Pass another --out, or --fresh to throw the earlier run away.",
  );
}

function differences(earlier: string, config: RunConfig): string {
  const found = z.record(z.string(), z.unknown()).safeParse(parsed(earlier));
  if (!found.success) return "its config.json cannot be read";
  const before: RunConfig = found.data;
  const keys = [...new Set([...Object.keys(before), ...Object.keys(config)])];
  return keys
    .filter((key) => JSON.stringify(before[key]) !== JSON.stringify(config[key]))
    .map((key) => `${key}: ${JSON.stringify(before[key])} there, ${JSON.stringify(config[key])} here`)
    .join("; ");
}

/**
 * The result of a finished step.
 *
 * @param hash Of the run's config, in hexadecimal digits.
 * @throws InputError naming the file where it is cut short, belongs to another config or was not written by a run.
 */
export async function readStep(file: string, hash: string): Promise<unknown> {
  const { tensors, metadata } = readSafetensors(await readFile(file), { source: file });
  const broken = (actual: string, cause?: unknown) =>
    new InputError(caller, `${file} must be a step that was kept`, actual, "Remove it to compute it again.", cause);
  if (metadata.config !== hash) {
    throw new InputError(caller, `${file} must belong to this run's config`, "another config's hash", "Pass --fresh.");
  }
  if (metadata.value === undefined) throw broken("one without a value");
  const arrays = Array.from({ length: Object.keys(tensors).length }, (_, index) => tensors[String(index)]?.data);
  if (arrays.some((data) => data === undefined)) throw broken("tensors that are not numbered");
  try {
    return decodeValue(metadata.value, arrays as Tensor["data"][]);
  } catch (error) {
    throw broken(error instanceof Error ? error.message : String(error), error);
  }
}

/** What is asked of an earlier run's environment. */
const environment = environmentSchema.pick({ git: true });

/** What an earlier run was made with; null where there is none: what another version wrote is as good as none. */
export async function earlierEnvironment(path: string): Promise<z.output<typeof environment> | null> {
  const text = await readFile(join(path, "environment.json"), "utf8").catch(() => "");
  return environment.safeParse(parsed(text)).data ?? null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
