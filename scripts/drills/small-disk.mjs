import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A file system of 512 kB in memory: Linux, as root.
 *
 * @returns `{ folder, fill, remove }`, where `fill(bytes)` leaves so many free and `fill(Infinity)` all; null where none can be had.
 */
export async function smallDisk() {
  const place = mkdtempSync(join(tmpdir(), "small-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", place], { stdio: "ignore" });
  } catch {
    rmSync(place, { recursive: true });
    return null;
  }
  const filler = join(place, "filler");
  const folder = join(place, "folder");
  await mkdir(folder);
  return {
    folder,
    async fill(bytes) {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(place);
      const rest = bavail * bsize - bytes;
      if (rest > 0) writeFileSync(filler, new Uint8Array(rest));
    },
    remove() {
      execFileSync("umount", [place]);
      rmSync(place, { recursive: true });
    },
  };
}
