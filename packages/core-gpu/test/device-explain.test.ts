import { expect, test } from "vitest";
import type { DeviceKind } from "../src/device/device.ts";
import { explain } from "../src/device/explain.ts";
import type { Machine } from "../src/device/machine.ts";
import { lookAround } from "../src/device/machine.ts";
import type { Probe } from "../src/device/probe.ts";

const fine: Probe = {
  ended: "normally",
  crash: null,
  providers: ["cpu", "webgpu", "cuda", "tensorrt"],
  right: true,
  error: null,
  log: "",
  libraries: [],
};
const failed = (error: string, log = ""): Probe => ({ ...fine, right: false, error, log });
const desktop: Machine = {
  platform: "linux/x64",
  nvidiaDriver: true,
  cudaProvider: true,
  installScript: "/app/node_modules/onnxruntime-node/script/install.js",
  graphicsCard: "usable",
};
const bare: Machine = { ...desktop, nvidiaDriver: false, cudaProvider: false, graphicsCard: "none" };

test.each<[DeviceKind, Probe, Machine, object]>([
  ["cpu", fine, bare, { available: true, software: false, fix: null }],
  ["webgpu", fine, desktop, { available: true, software: false, fix: null }],
  ["cuda", fine, desktop, { available: true, software: false, fix: null }],
])("%s works", (kind, seen, machine, expected) => {
  expect(explain(kind, seen, machine)).toMatchObject({ kind, ...expected });
});

// Messages as onnxruntime-node 1.30 and Dawn write them.
const noShared = "OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library";
const noAdapter = "webgpu_context.cc:136 ... Failed to get a WebGPU adapter: No supported adapters";
const noLoader =
  "Warning: Couldn't load Vulkan: libvulkan.so.1: cannot open shared object file: No such file or directory";
const lacks = (library: string) =>
  `Failed to load library libonnxruntime_providers_cuda.so with error: ${library}: cannot open shared object file: No such file or directory`;

test.each<[string, DeviceKind, Probe, Machine, string, string]>([
  [
    "CUDA provider not downloaded",
    "cuda",
    failed(noShared),
    { ...desktop, cudaProvider: false },
    "its CUDA provider (libonnxruntime_providers_cuda.so) is not part of the npm package",
    "Download it: node /app/node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install; then install CUDA 12 and cuDNN 9",
  ],
  [
    "neither NVIDIA driver nor CUDA provider",
    "cuda",
    failed(noShared),
    bare,
    "no NVIDIA driver is loaded (/proc/driver/nvidia is not there), and its CUDA provider",
    "install NVIDIA's driver",
  ],
  [
    "a folder with a blank",
    "cuda",
    failed(noShared),
    { ...desktop, cudaProvider: false, installScript: "/my app/install.js" },
    "is not part of the npm package",
    'node "/my app/install.js" --onnxruntime-node-install',
  ],
  [
    "cuDNN missing",
    "cuda",
    failed(noShared, lacks("libcudnn.so.9")),
    desktop,
    "the library libcudnn.so.9 is missing (the CUDA provider needs CUDA 12 and cuDNN 9)",
    "sudo apt-get install cuda-toolkit-12 cudnn9-cuda-12",
  ],
  [
    "the driver's library missing",
    "cuda",
    failed(noShared, lacks("libcuda.so.1")),
    desktop,
    "the NVIDIA driver's library libcuda.so.1 is missing",
    "until nvidia-smi lists the card",
  ],
  [
    "everything but the driver",
    "cuda",
    failed("CUDA failure 35: CUDA driver version is insufficient"),
    { ...desktop, nvidiaDriver: false },
    "no NVIDIA driver is loaded",
    "sudo apt-get install nvidia-driver",
  ],
  [
    "some other CUDA failure is quoted",
    "cuda",
    failed("CUDA failure 2: out of\n memory"),
    desktop,
    "CUDA failure 2: out of memory",
    "nvidia-smi",
  ],
  [
    "no Vulkan loader",
    "webgpu",
    failed(noAdapter, noLoader),
    bare,
    "the Vulkan loader (libvulkan.so.1) is not installed",
    "sudo apt-get install libvulkan1; then install the card's Vulkan driver",
  ],
  [
    "no card at all",
    "webgpu",
    failed(noAdapter),
    bare,
    "no graphics card that Linux drives (/dev/dri/renderD*), and no WebGPU adapter",
    "mesa-vulkan-drivers",
  ],
  [
    "no Vulkan driver",
    "webgpu",
    failed(noAdapter),
    desktop,
    "no WebGPU adapter: no graphics driver offers one",
    "vulkaninfo",
  ],
  [
    "a card that is not for this user",
    "webgpu",
    failed(noAdapter),
    { ...desktop, graphicsCard: "forbidden" },
    "may not be used by this user",
    "sudo usermod -aG render $USER",
  ],
  ["another WebGPU failure is quoted", "webgpu", failed("device lost"), desktop, "device lost", "vulkaninfo"],
  [
    "a driver that hangs",
    "webgpu",
    { ...failed(""), ended: "timeout", providers: null, error: null },
    desktop,
    "did not finish in time (the driver hangs)",
    "install the card's Vulkan driver",
  ],
  [
    "a driver that kills the process",
    "webgpu",
    { ...fine, ended: "crash", crash: "SIGSEGV", log: "first\nlast words\n" },
    desktop,
    "the process that tried WebGPU died (SIGSEGV): last words",
    "install the card's Vulkan driver",
  ],
  ["wrong numbers", "cuda", { ...fine, right: false }, desktop, "gave wrong numbers", "nvidia-smi"],
  [
    "a runtime that does not load",
    "cpu",
    { ...failed("libonnxruntime.so.1: cannot open"), providers: null },
    bare,
    "ONNX Runtime does not load: libonnxruntime.so.1: cannot open",
    "Reinstall onnxruntime-node.",
  ],
])("%s: says what and what to do", (_, kind, seen, machine, reason, fix) => {
  const diagnosis = explain(kind, seen, machine);
  expect(diagnosis).toMatchObject({ kind, available: false, software: false });
  expect(diagnosis.reason).toContain(reason);
  expect(diagnosis.fix).toContain(fix);
});

test("a provider that is not built for the platform cannot be fixed", () => {
  const seen = { ...failed("no available backend found"), providers: ["cpu"] };
  expect(explain("cuda", seen, { ...bare, platform: "linux/arm64" })).toMatchObject({
    available: false,
    reason: "ONNX Runtime's Node package has no CUDA provider for linux/arm64",
    fix: null,
  });
});

test.each<[string, readonly string[], Machine["graphicsCard"], boolean]>([
  ["SwiftShader alone", ["libvulkan.so.1", "libvk_swiftshader.so"], "none", true],
  ["llvmpipe alone", ["libvulkan.so.1", "libvulkan_lvp.so"], "none", true],
  [
    "Mesa with all its drivers but no card",
    ["libvulkan_lvp.so", "libvulkan_radeon.so", "libvulkan_intel.so"],
    "none",
    true,
  ],
  ["Mesa with a card that is not for this user", ["libvulkan_lvp.so", "libvulkan_radeon.so"], "forbidden", true],
  ["Mesa with a card", ["libvulkan_lvp.so", "libvulkan_radeon.so"], "usable", false],
  ["NVIDIA's driver beside llvmpipe", ["libvulkan_lvp.so", "libGLX_nvidia.so.0"], "usable", false],
  ["a card without its driver", ["libvulkan.so.1", "libvulkan_lvp.so"], "usable", true],
  ["no emulator", ["libvulkan.so.1", "libvulkan_radeon.so"], "usable", false],
])("emulated graphics card: %s", (_, libraries, graphicsCard, software) => {
  const diagnosis = explain("webgpu", { ...fine, libraries }, { ...desktop, graphicsCard });
  expect(diagnosis).toMatchObject({ available: true, software });
  expect(diagnosis.fix === null).toBe(!software);
});

test("this machine can be looked at", () => {
  const machine = lookAround();
  expect(machine.platform).toBe(`${process.platform}/${process.arch}`);
  expect(machine.installScript).toMatch(/onnxruntime-node.script.install\.js$/);
});
