// What goes into the archive of gpu-archive.mjs: everything that its check.mjs needs, found by following imports.
// @ts-check
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import ts from "typescript";
import { root } from "../run.mjs";

/** Bytes of the archive at most. */
export const LIMIT = 60e6;

/** The folder that the archive unpacks to. */
export const NAME = "exitkit-gpu-linux-x64";

/**
 * @typedef {object} Entry
 * @property {string} path Where it lies in the archive, with slashes.
 * @property {string} from The file it comes from.
 * @property {string} [text] What it holds, where that is not what the file holds.
 */

/** The files beside this one that run there. */
const SCRIPTS = ["check.mjs", "machine.mjs", "processes.mjs", "steps.mjs"];

/** Packages that only the install scripts of others need. */
const INSTALL_ONLY = new Set(["adm-zip", "global-agent"]);

/** Where a Vulkan loader may lie; machines with a driver in a container often lack it. */
const LOADERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/chromium"].map(
  (folder) => `${folder}/libvulkan.so.1`,
);

const core = join(root, "packages/core-gpu");
const bench = join(root, "apps/bench");

/**
 * Every file of the archive. Throws when the workspace is not built or this machine is not Linux on x64.
 *
 * @returns {Entry[]}
 */
export function contents() {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(
      `the archive holds this machine's Node, which must be for linux/x64; it is for ${process.platform}/${process.arch}`,
    );
  }
  const installed = "node_modules/@exitkit/core-gpu";
  const loader = LOADERS.find(existsSync);
  const license = [".", "share/doc/node", "share/doc/nodejs"]
    .map((folder) => join(dirname(process.execPath), "..", folder, "LICENSE"))
    .find(existsSync);
  const entries = [
    entry("run", join(root, "scripts/gpu-archive/run")),
    ...SCRIPTS.map((name) => entry(`scripts/gpu-archive/${name}`, join(root, "scripts/gpu-archive", name))),
    entry("node", realpathSync(process.execPath)),
    ...(license === undefined ? [] : [entry("node.LICENSE", license)]),
    ...(loader === undefined ? [] : [entry("lib/libvulkan.so.1", realpathSync(loader))]),
    entry("package.json", join(core, "package.json"), '{"type":"module"}\n'),
    ...reached(join(bench, "peers/train-step.mjs"), (file) => inside(root, file)),
    ...["turns.mjs", "networks.py", "train_step.py"].map((name) =>
      entry(`apps/bench/peers/${name}`, join(bench, "peers", name)),
    ),
    ...["package.json", ...filesBelow(join(core, "dist")).map((name) => `dist/${name}`)]
      .filter((name) => /\.(js|json)$/.test(name))
      .map((name) => entry(`${installed}/${name}`, join(core, name))),
    ...["contract-child.ts", "devices-child.ts"].flatMap((name) =>
      reached(join(core, "test/support", name), (file) => `${installed}/${inside(core, file)}`),
    ),
    ...goldenValues().map((name) => entry(`${installed}/fixtures/${name}`, join(core, "fixtures", name))),
    ...packages(core),
  ];
  const missing = entries.filter(({ from }) => !existsSync(from));
  if (missing.length > 0) throw new Error(`build the workspace first (pnpm build): ${missing[0]?.from} is not there`);
  return entries;
}

/**
 * @param {string} path
 * @param {string} from
 * @param {string} [text]
 * @returns {Entry}
 */
function entry(path, from, text) {
  return text === undefined ? { path, from } : { path, from, text };
}

/** @type {(folder: string, file: string) => string} */
const inside = (folder, file) => relative(folder, file).split(sep).join("/");

/** @param {string} folder */
function filesBelow(folder) {
  if (!existsSync(folder)) throw new Error(`build the workspace first (pnpm build): ${folder} is not there`);
  const found = readdirSync(folder, { recursive: true, withFileTypes: true });
  return found.filter((file) => file.isFile()).map((file) => inside(folder, join(file.parentPath, file.name)));
}

/** The fixtures that the contract reads. */
function goldenValues() {
  const families = readdirSync(join(core, "fixtures/gradients")).filter((name) => name.endsWith(".json"));
  return ["program.json", ...families.map((name) => `gradients/${name}`)];
}

/**
 * A module and those that it imports by relative paths. Tests are TypeScript: they are translated, and import what their
 * package's sources were built to.
 *
 * @param {string} start
 * @param {(file: string) => string} place Where a file goes.
 * @returns {Entry[]}
 */
function reached(start, place) {
  /** @type {Map<string, Entry>} */
  const found = new Map();
  const pending = [start];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    const typescript = file.endsWith(".ts");
    if (found.has(file) || (typescript && inside(root, file).includes("/src/"))) continue;
    const source = existsSync(file) ? readFileSync(file, "utf8") : "";
    const text = typescript ? translated(source) : source;
    found.set(file, entry(place(file).replace(/\.ts$/, ".js"), file, typescript ? inBuilt(text) : undefined));
    for (const [, path] of text.matchAll(/(?:from|import) ?"(\.{1,2}\/[^"]+)"/g)) {
      const imported = join(dirname(file), /** @type {string} */ (path));
      pending.push(typescript ? imported.replace(/\.js$/, ".ts") : imported);
    }
  }
  return [...found.values()];
}

/** @param {string} source */
function translated(source) {
  return ts.transpileModule(source, {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    },
  }).outputText;
}

/** Imports the built modules in place of the sources. @param {string} script */
function inBuilt(script) {
  return script.replace(/(from "(?:\.\.\/)+)src\//g, "$1dist/");
}

/**
 * The packages that a package needs to run, and those that they need, as they are installed here.
 *
 * @param {string} folder
 * @returns {Entry[]}
 */
function packages(folder) {
  /** @type {Map<string, string>} */
  const homes = new Map();
  /** @param {string} home */
  const follow = (home) => {
    const { dependencies = {} } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    for (const name of Object.keys(dependencies)) {
      if (homes.has(name) || INSTALL_ONLY.has(name)) continue;
      const found = findPackage(home, name);
      homes.set(name, found);
      follow(found);
    }
  };
  follow(folder);
  return [...homes].flatMap(([name, home]) =>
    filesBelow(home)
      .filter((file) => (name === "onnxruntime-node" ? ofRuntime(file) : ofPackage(file)))
      .map((file) => entry(`node_modules/${name}/${file}`, join(home, file))),
  );
}

/** @param {string} file */
function ofPackage(file) {
  return /\.([cm]?js|json)$|^LICEN[CS]E/i.test(file) && !file.startsWith("node_modules/");
}

/** Of all platforms this one, without a CUDA provider that may lie beside. @param {string} file */
function ofRuntime(file) {
  return /^(package\.json|dist\/.*\.js|bin\/napi-v6\/linux\/x64\/(libonnxruntime\.so\.\d+|onnxruntime_binding\.node))$/.test(
    file,
  );
}

/**
 * @param {string} from
 * @param {string} name
 */
function findPackage(from, name) {
  for (let folder = realpathSync(from); folder !== dirname(folder); folder = dirname(folder)) {
    const home = join(folder, "node_modules", name);
    if (existsSync(home)) return realpathSync(home);
  }
  throw new Error(`${name}, which ${from} needs, is not installed`);
}

/**
 * Puts the files into a folder.
 *
 * @param {string} folder
 * @param {readonly Entry[]} entries
 * @param {{ link?: boolean }} [options] `link`: point to files above 1 MB instead of copying them.
 */
export function layOut(folder, entries, { link = false } = {}) {
  for (const { path, from, text } of entries) {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    if (text !== undefined) writeFileSync(target, text);
    else if (link && statSync(from).size > 1e6) symlinkSync(from, target);
    else copyFileSync(from, target);
    if (path === "run") chmodSync(target, 0o755);
  }
}

/**
 * About how many bytes the entries take compressed: of large files every eighth block, by brotli at a level that xz beats.
 *
 * @param {readonly Entry[]} entries
 */
export function estimatedBytes(entries) {
  const block = 2 ** 19;
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5 };
  return entries.reduce((sum, { from, text }) => {
    const size = text === undefined ? statSync(from).size : text.length;
    // Scripts and golden values; brotli makes a fifth of them.
    if (size < 8 * block) return sum + size / 4;
    const file = openSync(from, "r");
    let read = 0;
    let packed = 0;
    for (let at = 0; at < size; at += 8 * block) {
      const part = Buffer.alloc(Math.min(block, size - at));
      read += readSync(file, part, 0, part.length, at);
      packed += brotliCompressSync(part, { params }).length;
    }
    closeSync(file);
    return sum + (size * packed) / read;
  }, 0);
}
