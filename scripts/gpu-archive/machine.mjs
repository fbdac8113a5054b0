// The machine that check.mjs runs on.
// @ts-check
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { delimiter, join } from "node:path";
import { outputOf, runScript } from "./processes.mjs";

/** Where the Vulkan loader's log goes when WebGPU does not work. */
export const LOG = "webgpu.log";

/** A file of the archive. @param {string} path */
export const inArchive = (path) => join(import.meta.dirname, "../..", path);

/** A script of core-gpu's tests. @param {string} name */
export const coreScript = (name) => inArchive(`node_modules/@exitkit/core-gpu/test/support/${name}.js`);

/** What `diagnoseDevices` of core-gpu says of a device.
 * @typedef {{ kind: string; available: boolean; software: boolean; reason: string; fix: string | null }} Diagnosis
 */

/**
 * The environment in which Vulkan works: with NVIDIA's driver found where containers are given it, and with the archive's
 * Vulkan loader where the machine has none.
 */
export function vulkanEnvironment() {
  const env = { ...process.env };
  const named = env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES;
  const usual = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"].flatMap(filesOf);
  const mounted = filesOf("/usr/local/nvidia/share/vulkan/icd.d");
  if (named === undefined && mounted.length > 0 && !usual.some((file) => file.includes("nvidia"))) {
    env.VK_DRIVER_FILES = mounted.join(delimiter);
  }
  const given = (env.LD_LIBRARY_PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const known = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];
  if (![...given, ...known].some((folder) => existsSync(join(folder, "libvulkan.so.1")))) {
    env.LD_LIBRARY_PATH = [...given, inArchive("lib")].join(delimiter);
  }
  return env;
}

/** @param {string} folder */
function filesOf(folder) {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/**
 * Looks for the graphics card that WebGPU takes.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export async function findDevice(env) {
  const { report, log, ended } = await runScript(coreScript("devices-child"), { ...env, VK_LOADER_DEBUG: "all" });
  const webgpu = /** @type {Diagnosis[]} */ (report ?? []).find(({ kind }) => kind === "webgpu");
  if (webgpu?.available !== true) writeFileSync(inArchive(LOG), log);
  // The loader tells which adapter a device was made of; older loaders do not.
  const [, adapter = null, driver = null] = [...log.matchAll(/Using "(.+?)" with driver: "(.+?)"/g)].at(-1) ?? [];
  return {
    available: webgpu?.available === true,
    software: webgpu?.software === true,
    adapter,
    driver,
    nvidia: await outputOf("nvidia-smi", ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]),
    processor: cpus()[0]?.model ?? "unknown",
    node: process.versions.node,
    onnxruntime: /** @type {string} */ (
      JSON.parse(readFileSync(inArchive("node_modules/onnxruntime-node/package.json"), "utf8")).version
    ),
    reason: webgpu?.reason ?? `the process that looked for devices ended with ${ended}`,
    fix: webgpu?.fix ?? null,
  };
}

/**
 * What this machine's PyTorch runs on; empty, with the reason, where there is none.
 *
 * @param {string} python
 * @returns {Promise<{ devices: string[]; reason: string | null }>}
 */
export async function findTorch(python) {
  const printed = await outputOf(python, ["-c", "import torch; print(torch.cuda.is_available())"]);
  if (printed === null) return { devices: [], reason: `${python} -c "import torch" does not work here` };
  return { devices: printed.endsWith("True") ? ["cuda", "cpu"] : ["cpu"], reason: null };
}
