// The examples of the documentation: found by test/examples.test.ts and by packaging.mjs.
// @ts-check
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { root } from "./run.mjs";

/**
 * @typedef {object} Example
 * @property {string} file Path from the repository's root, with slashes.
 * @property {number} line Line of its first line in the file, from 1.
 * @property {string} code
 * @property {string | null} noRun Why it is type-checked only, or null.
 */

/**
 * The ```ts fences of a Markdown text. "```ts no-run: reason" is type-checked only.
 *
 * @param {string} file
 * @param {string} text
 * @param {number} [firstLine] Line of the file that the text begins at.
 * @returns {Example[]}
 */
export function fences(file, text, firstLine = 1) {
  /** @type {Example[]} */
  const found = [];
  /** @type {{ info: string; line: number; lines: string[] } | null} */
  let open = null;
  text.split("\n").forEach((line, index) => {
    if (open !== null && line.trim() === "```") {
      const [language = "", ...words] = open.info.split(/\s+/);
      if (/^(ts|typescript|js|javascript|mts)$/.test(language)) {
        const where = `${file}:${open.line}`;
        if (language !== "ts")
          throw new Error(`${where}: code fences are \`\`\`ts, so that they are checked; got ${language}`);
        const reason = /^no-run: (.+)$/.exec(words.join(" "))?.[1] ?? null;
        if (words.length > 0 && reason === null)
          throw new Error(`${where}: "\`\`\`ts" or "\`\`\`ts no-run: reason"; got ${open.info}`);
        found.push({ file, line: open.line, code: open.lines.join("\n"), noRun: reason });
      }
      open = null;
    } else if (open !== null) {
      open.lines.push(line);
    } else if (line.startsWith("```")) {
      open = { info: line.slice(3).trim(), line: firstLine + index + 1, lines: [] };
    }
  });
  if (open !== null) throw new Error(`${file}: a code fence is not closed`);
  return found;
}

/**
 * The fences of every doc comment with an `@example`.
 *
 * @param {string} file
 * @param {string} source
 * @returns {Example[]}
 */
export function docComments(file, source) {
  return [...source.matchAll(/\/\*\*[\s\S]*?\*\//g)].flatMap(({ 0: comment, index }) => {
    if (!/^\s*\* @example/m.test(comment)) return [];
    const text = comment.replace(/^[ \t]*\* ?/gm, "");
    const found = fences(file, text, source.slice(0, index).split("\n").length);
    if (found.length === 0) throw new Error(`${file}: an @example without a \`\`\`ts fence`);
    return found;
  });
}

/** Every example: README.md, docs (not the decisions and not the generated pages), the packages' READMEs and doc comments. */
export function allExamples() {
  const read = (/** @type {string} */ file) => readFileSync(join(root, file), "utf8");
  const packages = readdirSync(join(root, "packages")).map((name) => `packages/${name}`);
  const pages = [
    "README.md",
    ...filesBelow("docs", ".md").filter((file) => !/^docs\/(api|decisions)\//.test(file)),
    ...packages.map((folder) => `${folder}/README.md`),
  ];
  const sources = packages.flatMap((folder) => filesBelow(`${folder}/src`, ".ts"));
  return [
    ...pages.flatMap((file) => fences(file, read(file))),
    ...sources.flatMap((file) => docComments(file, read(file))),
  ];
}

/**
 * @param {string} folder
 * @param {string} ending
 */
function filesBelow(folder, ending) {
  const names = /** @type {string[]} */ (readdirSync(join(root, folder), { recursive: true }));
  const paths = names.map((name) => `${folder}/${name.replaceAll("\\", "/")}`);
  return paths.filter((path) => path.endsWith(ending)).sort();
}

/**
 * Puts the files that examples name into a folder: `network.onnx`, a classifier of 3×8×8 pictures in 4 classes, and
 * `pictures.safetensors` with pictures to fit and to try it on; `stories260K`, the folder of a small language model, and
 * `stories.txt`, 60 kB of text for it; `decoder.onnx`, an export of a tiny decoder.
 *
 * @param {string} folder
 */
export function layOutFiles(folder) {
  mkdirSync(folder, { recursive: true });
  const fixtures = join(root, "packages/e2cm/fixtures");
  copyFileSync(join(fixtures, "tiny.onnx"), join(folder, "network.onnx"));
  copyFileSync(join(fixtures, "pictures.safetensors"), join(folder, "pictures.safetensors"));
  const stories = gunzipSync(readFileSync(join(root, "apps/bench/assets/tinystories/tinystories_sample.txt.gz")));
  writeFileSync(join(folder, "stories.txt"), stories.subarray(0, 60_000).toString("utf8"));
  copyFileSync(join(root, "packages/llm-exit-init/fixtures/onnx/gpt2-past.onnx"), join(folder, "decoder.onnx"));
  cpSync(join(root, "apps/bench/assets/llm-stories260k"), join(folder, "stories260K"), { recursive: true });
}
