import type { DeviceKind, Diagnosis } from "./device.ts";
import type { Machine } from "./machine.ts";
import type { Probe } from "./probe.ts";

interface Verdict {
  readonly available?: boolean;
  readonly software?: boolean;
  readonly reason: string;
  readonly fix: string | null;
}

/** What a probe and the machine's files mean: whether the device works, and if not what is missing and what to type. */
export function explain(kind: DeviceKind, probe: Probe, machine: Machine): Diagnosis {
  const verdict =
    general(kind, probe, machine) ??
    (kind === "cuda" ? cuda(probe, machine) : kind === "webgpu" ? webgpu(probe, machine) : cpu(probe));
  return { kind, available: false, software: false, ...verdict };
}

const titles = { cpu: "the CPU", webgpu: "WebGPU", cuda: "CUDA" } as const;

function general(kind: DeviceKind, probe: Probe, machine: Machine): Verdict | undefined {
  const title = titles[kind];
  if (probe.ended === "timeout") {
    return {
      reason: `a small network on ${title} did not finish in time (the driver hangs)`,
      fix: kind === "cpu" ? "Try again when the machine is less busy." : driverAdvice[kind],
    };
  }
  if (probe.providers === null && probe.error !== null) {
    return { reason: `ONNX Runtime does not load: ${oneLine(probe.error)}`, fix: "Reinstall onnxruntime-node." };
  }
  if (probe.ended === "crash") {
    const reason = `the process that tried ${title} died (${probe.crash})${lastLine(probe.log)}`;
    return { reason, fix: kind === "cpu" ? "Reinstall onnxruntime-node." : driverAdvice[kind] };
  }
  if (probe.providers !== null && !probe.providers.includes(kind)) {
    return { reason: `ONNX Runtime's Node package has no ${title} provider for ${machine.platform}`, fix: null };
  }
  if (probe.error === null && !probe.right) {
    const fix = kind === "cpu" ? "Reinstall onnxruntime-node." : driverAdvice[kind];
    return { reason: `a small network on ${title} gave wrong numbers`, fix };
  }
  return undefined;
}

function cpu(probe: Probe): Verdict {
  if (probe.right) return { available: true, reason: "ONNX Runtime's CPU kernels", fix: null };
  return { reason: oneLine(probe.error ?? ""), fix: "Reinstall onnxruntime-node." };
}

function webgpu(probe: Probe, machine: Machine): Verdict {
  const emulator = softwareDriver(probe, machine);
  if (probe.right && emulator !== undefined) {
    return {
      available: true,
      software: true,
      reason: `works, but ${emulator} emulates the graphics card on the CPU, slower than the CPU device`,
      fix:
        machine.graphicsCard === "forbidden"
          ? `Let this user use the graphics card: sudo usermod -aG render $USER, then log in again`
          : `For a real graphics card: ${driverAdvice.webgpu}`,
    };
  }
  if (probe.right) return { available: true, reason: "a graphics card through WebGPU", fix: null };
  if (/Couldn't load Vulkan/.test(probe.log)) {
    return {
      reason: "the Vulkan loader (libvulkan.so.1) is not installed",
      fix: `sudo apt-get install libvulkan1; then ${driverAdvice.webgpu}`,
    };
  }
  if (/No supported adapters|Failed to get a WebGPU adapter/.test(probe.error ?? "")) {
    if (machine.graphicsCard === "forbidden") {
      return {
        reason: "the graphics card (/dev/dri/renderD*) may not be used by this user",
        fix: `sudo usermod -aG render $USER, then log in again`,
      };
    }
    const none = machine.graphicsCard === "none" ? "no graphics card that Linux drives (/dev/dri/renderD*), and " : "";
    return { reason: `${none}no WebGPU adapter: no graphics driver offers one`, fix: driverAdvice.webgpu };
  }
  return { reason: oneLine(probe.error ?? ""), fix: driverAdvice.webgpu };
}

/** The driver that emulates a graphics card on the CPU, if it must have been the one that answered. */
function softwareDriver(probe: Probe, machine: Machine): string | undefined {
  const loaded = (pattern: RegExp) => probe.libraries.some((name) => pattern.test(name));
  const emulator = loaded(/swiftshader/) ? "SwiftShader" : loaded(/vulkan_lvp/) ? "Mesa's llvmpipe" : undefined;
  // Vulkan's loader opens every driver that is installed, so the real ones count only where there is a card for them.
  const real = loaded(/nvidia|vulkan_(?!lvp)\w+\.so/) && machine.graphicsCard === "usable";
  return real ? undefined : emulator;
}

function cuda(probe: Probe, machine: Machine): Verdict {
  if (probe.right) return { available: true, reason: "an NVIDIA graphics card through CUDA", fix: null };
  const noDriver = "no NVIDIA driver is loaded (/proc/driver/nvidia is not there)";
  if (!machine.cudaProvider) {
    const download = `node ${quoted(machine.installScript)} --onnxruntime-node-install`;
    const missing = "its CUDA provider (libonnxruntime_providers_cuda.so) is not part of the npm package";
    if (machine.nvidiaDriver === false) {
      return {
        reason: `${noDriver}, and ${missing}`,
        fix: `${driverAdvice.cuda}; then ${download}; then ${libraries}`,
      };
    }
    return { reason: missing, fix: `Download it: ${download}; then ${libraries}` };
  }
  const library = /with error: ([\w.+-]+\.so[\w.]*): cannot open shared object file/.exec(probe.log)?.[1];
  if (library?.startsWith("libcuda.so")) {
    return { reason: `the NVIDIA driver's library ${library} is missing`, fix: driverAdvice.cuda };
  }
  if (library !== undefined) {
    return {
      reason: `the library ${library} is missing (the CUDA provider needs CUDA 12 and cuDNN 9)`,
      fix: libraries,
    };
  }
  if (machine.nvidiaDriver === false) return { reason: noDriver, fix: driverAdvice.cuda };
  return { reason: oneLine(probe.error ?? ""), fix: driverAdvice.cuda };
}

const driverAdvice = {
  webgpu:
    "install the card's Vulkan driver (Debian: sudo apt-get install mesa-vulkan-drivers for AMD and Intel, " +
    "nvidia-driver for NVIDIA); check with vulkaninfo --summary (package vulkan-tools)",
  cuda:
    "install NVIDIA's driver (Debian with non-free: sudo apt-get install nvidia-driver; a container: start it with " +
    "--gpus all) until nvidia-smi lists the card",
} as const;

const libraries =
  "install CUDA 12 and cuDNN 9 from NVIDIA's package repository (sudo apt-get install cuda-toolkit-12 cudnn9-cuda-12), " +
  "or put their folder on LD_LIBRARY_PATH if they are there";

const quoted = (path: string): string => (/^[\w@%+=:,./-]+$/.test(path) ? path : JSON.stringify(path));

const oneLine = (text: string): string => text.trim().replaceAll(/\s+/g, " ").slice(0, 400);

function lastLine(log: string): string {
  const line = log.trim().split("\n").at(-1);
  return line === undefined || line === "" ? "" : `: ${oneLine(line)}`;
}
