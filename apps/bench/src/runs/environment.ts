import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import os from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";

/** The machine and the software a run was made with. */
export const environmentSchema = z.object({
  time: z.string(),
  node: z.string(),
  os: z.string(),
  cpu: z.string(),
  cores: z.number(),
  memoryGiB: z.number(),
  /** Load average over 1, 5 and 15 minutes when the run began. */
  loadAverage: z.array(z.number()).readonly(),
  onnxruntime: z.string(),
  packages: z.record(z.string(), z.string()),
  /** Commit of the source tree and whether files differ from it; null outside a git checkout. */
  git: z.object({ sha: z.string(), dirty: z.boolean() }).nullable(),
});

export type Environment = Readonly<z.output<typeof environmentSchema>>;

/** Describes the environment of this process, now. */
export async function describeEnvironment(): Promise<Environment> {
  const { dependencies } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  const names = Object.keys(dependencies).filter((name) => name.startsWith("@exitkit/"));
  const versions = await Promise.all(names.map(packageVersion));
  return {
    time: new Date().toISOString(),
    node: process.version,
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: Math.round((os.totalmem() / 2 ** 30) * 10) / 10,
    loadAverage: os.loadavg(),
    onnxruntime: await packageVersion("onnxruntime-node"),
    packages: Object.fromEntries(names.map((name, index) => [name, versions[index]!])),
    git: await treeState(),
  };
}

const require = createRequire(import.meta.url);

async function packageVersion(name: string): Promise<string> {
  const file = require.resolve(`${name}/package.json`);
  return (JSON.parse(await readFile(file, "utf8")) as { version: string }).version;
}

/** Looked at once: what this process runs is what the tree was when it began. */
let tree: Promise<Environment["git"]> | undefined;
function treeState(): Promise<Environment["git"]> {
  tree ??= gitState();
  return tree;
}

async function gitState(): Promise<Environment["git"]> {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const git = (...args: string[]) => promisify(execFile)("git", args, { cwd }).then(({ stdout }) => stdout.trim());
  try {
    const sha = await git("rev-parse", "HEAD");
    return { sha, dirty: (await git("status", "--porcelain")) !== "" };
  } catch {
    return null;
  }
}
