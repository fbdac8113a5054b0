import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** What this machine has, as far as files tell. */
export interface Machine {
  /** Operating system and processor, e.g. `linux/x64`. */
  readonly platform: string;
  /** Whether an NVIDIA kernel driver is loaded; `null` where that cannot be told from files. */
  readonly nvidiaDriver: boolean | null;
  /** Whether the CUDA provider's library lies beside the runtime. */
  readonly cudaProvider: boolean;
  /** Where the runtime's install script lies, which downloads the CUDA provider. */
  readonly installScript: string;
  /** Whether there is a graphics card that this user may use; `null` where that cannot be told from files. */
  readonly graphicsCard: "usable" | "forbidden" | "none" | null;
}

/** Looks at this machine. */
export function lookAround(): Machine {
  const runtime = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  const binaries = join(runtime, "bin", "napi-v6", process.platform, process.arch);
  const linux = process.platform === "linux";
  // /dev/dxg is the graphics card in Windows' Linux subsystem, NVIDIA or not.
  const nvidiaDriver = linux
    ? existsSync("/proc/driver/nvidia/version") || (existsSync("/dev/dxg") ? null : false)
    : null;
  return {
    platform: `${process.platform}/${process.arch}`,
    nvidiaDriver,
    cudaProvider: existsSync(join(binaries, "libonnxruntime_providers_cuda.so")),
    installScript: join(runtime, "script", "install.js"),
    graphicsCard: linux ? graphicsCard() : null,
  };
}

function graphicsCard(): "usable" | "forbidden" | "none" {
  const nodes = ["/dev/nvidiactl", "/dev/dxg"].filter(existsSync);
  try {
    const cards = readdirSync("/dev/dri").filter((name) => name.startsWith("renderD"));
    nodes.push(...cards.map((name) => join("/dev/dri", name)));
  } catch {
    // No such folder: no card with a kernel graphics driver.
  }
  if (nodes.length === 0) return "none";
  return nodes.some(mayUse) ? "usable" : "forbidden";
}

function mayUse(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
