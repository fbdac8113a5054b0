// `npm run gpu-archive [-- --out file.tar.xz] [-- --no-build]`: packs the operators' contract and the training-step benchmark
// with Node and ONNX Runtime into one archive of at most 60 MB, for a Linux machine (x64, glibc 2.28 or newer) with a graphics
// card, a Vulkan driver and no network. There: `tar -xJf file.tar.xz && exitkit-gpu-linux-x64/run`.
// @ts-check
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { contents, LIMIT, layOut, NAME } from "./gpu-archive/contents.mjs";
import { installAndBuild, run } from "./run.mjs";

const { values } = parseArgs({
  allowNegative: true,
  options: { out: { type: "string", default: `${NAME}.tar.xz` }, build: { type: "boolean", default: true } },
});

if (values.build) await installAndBuild();
const out = resolve(values.out);
const entries = contents();
const temporary = mkdtempSync(join(tmpdir(), "exitkit-gpu-"));
try {
  layOut(join(temporary, NAME), entries);
  console.log(`packing ${entries.length} files ...`);
  const { code } = await run(
    "tar",
    ["-C", temporary, "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-cJf", out, NAME],
    { env: { XZ_OPT: "-6" } },
  );
  if (code !== 0) throw new Error("tar failed; it needs xz (Debian package xz-utils)");
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
const { size } = statSync(out);
const sum = createHash("sha256").update(readFileSync(out)).digest("hex");
console.log(`${out}: ${(size / 1e6).toFixed(1)} MB of at most ${LIMIT / 1e6}, sha256 ${sum}`);
if (size > LIMIT) {
  console.error("too large: see what takes the room with tar -tvJf");
  process.exitCode = 1;
}
