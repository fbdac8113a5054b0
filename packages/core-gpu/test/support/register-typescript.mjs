// `node --conditions=source --import <this>` runs the TypeScript sources as they are, so that tests can start and kill real
// processes without a build. What was translated once is kept in node_modules/.cache, by its content.
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

const cache = new URL("../../node_modules/.cache/typescript/", import.meta.url);

if (isMainThread) register(import.meta.url);

/** Module hook: turns `.ts` files into JavaScript, types removed. */
export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const text = await readFile(new URL(url), "utf8");
  const kept = new URL(`${createHash("sha256").update(text).digest("hex")}.js`, cache);
  const source = await readFile(kept, "utf8").catch(() => translate(text, url, kept));
  return { format: "module", source, shortCircuit: true };
}

async function translate(text, fileName, kept) {
  const { default: typescript } = await import("typescript");
  const { outputText } = typescript.transpileModule(text, {
    fileName,
    compilerOptions: { module: "esnext", target: "es2023", verbatimModuleSyntax: true },
  });
  const part = new URL(`${kept.href}.${process.pid}`);
  await mkdir(cache, { recursive: true });
  await writeFile(part, outputText);
  await rename(part, kept);
  return outputText;
}
