import { randomBytes } from "node:crypto";
import { constants, copyFile, link, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { checkArguments } from "./arguments.ts";
import { InputError } from "./errors.ts";
import { fileError, makeFolder } from "./files.ts";

/** A folder that one run has to itself, until it is released or its process ends. */
export interface FolderClaim {
  readonly folder: string;
  /** Gives the folder back. Twice is allowed. */
  release(): Promise<void>;
}

/** Who has a folder. Process ids come again, so the start of the process tells which one it was. */
const ownerSchema = z.strictObject({
  host: z.string(),
  pid: z.int().min(1),
  started: z.string(),
  claim: z.string().regex(/^\w{1,64}$/),
});
type Owner = z.output<typeof ownerSchema>;

const fileName = ".owner.json";

/**
 * Claims a folder, made if it is missing, for this process: two runs in one folder would remove each other's files. What a
 * process that is gone left claimed is taken over.
 *
 * @param caller The public function that claims, for messages.
 * @throws InputError where another run has the folder (its process and machine are named), or it cannot be made or written.
 * @example
 * ```ts
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import { claimFolder } from "@exitkit/core-gpu";
 * const folder = await mkdtemp(join(tmpdir(), "run-"));
 * const claim = await claimFolder("example", folder);
 * await claimFolder("example", folder).catch((error) => console.assert(String(error).includes("process")));
 * await claim.release();
 * ```
 */
export async function claimFolder(caller: string, folder: string): Promise<FolderClaim> {
  checkArguments("core-gpu.claimFolder", { caller: [caller, "a string"], folder: [folder, "a string"] });
  await makeFolder(caller, folder);
  const path = join(folder, fileName);
  const own: Owner = {
    host: hostname(),
    pid: process.pid,
    started: (await startOf(process.pid)) ?? "",
    claim: randomBytes(8).toString("hex"),
  };
  const waiting = join(folder, `.owner.${own.claim}.tmp`);
  try {
    await writeFile(waiting, JSON.stringify(own), { flag: "wx" });
    // A link is made or not, whole: of two that try at once one fails.
    while (!(await linked(waiting, path))) if (await tookOver(caller, folder, path, waiting)) break;
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw fileError(caller, "write", folder, error);
  } finally {
    await rm(waiting, { force: true }).catch(() => undefined);
  }
  return {
    folder,
    release: async () => {
      if ((await ownerIn(path))?.claim === own.claim) await rm(path, { force: true });
    },
  };
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    // Some file systems have no links.
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS") throw error;
  }
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Puts a claim in the place of one whose process is gone. Who does so holds a file of that claim's name meanwhile: of two
 * that find it gone at once neither replaces what the other has just put there.
 *
 * @returns Whether it is there; false where another was faster, and one must look again.
 * @throws InputError where the process is alive, or on another machine.
 */
async function tookOver(caller: string, folder: string, path: string, waiting: string): Promise<boolean> {
  const owner = await ownerIn(path);
  if (owner !== null) await checkGone(caller, folder, path, owner);
  const turn = join(folder, `.owner.${owner?.claim ?? "none"}.turn`);
  if (!(await linked(waiting, turn))) {
    const other = await ownerIn(turn);
    if (other !== null && other.host === hostname() && (await startOf(other.pid)) !== other.started)
      await rm(turn, { force: true });
    await sleep(5);
    return false;
  }
  try {
    if ((await ownerIn(path))?.claim !== owner?.claim) return false;
    await rename(waiting, path);
    return true;
  } finally {
    await rm(turn, { force: true });
  }
}

async function checkGone(caller: string, folder: string, path: string, owner: Owner): Promise<void> {
  const here = owner.host === hostname();
  if (here && (await startOf(owner.pid)) !== owner.started) return;
  const where = here ? "" : ` on ${owner.host}`;
  const fix = here
    ? "Wait for it, or choose another folder."
    : `Choose another folder, or remove ${path} if that machine is gone.`;
  throw new InputError(caller, `${folder} must be a run's own`, `a run of process ${owner.pid}${where} in it`, fix);
}

/** Null where there is none, or half of one. */
async function ownerIn(path: string): Promise<Owner | null> {
  try {
    const parsed = ownerSchema.safeParse(JSON.parse(await readFile(path, "utf8")));
    return parsed.success ? parsed.data : null;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/**
 * What tells a process from a later one of its number: on Linux the boot and the process's start in it; elsewhere only that
 * it is alive. Null where there is no such process.
 */
async function startOf(pid: number): Promise<string | null> {
  try {
    // Field 22, counted behind the name in parentheses, which may hold anything.
    const line = await readFile(`/proc/${pid}/stat`, "utf8");
    const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    return `${boot} ${line.slice(line.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    if (
      await stat("/proc/self/stat").then(
        () => true,
        () => false,
      )
    )
      return null;
  }
  try {
    process.kill(pid, 0);
    return "alive";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "alive" : null;
  }
}
