// `node --conditions=source --import <this>` runs the TypeScript sources as they are, so that tests can start and kill real
// processes without a build.
import { readFile } from "node:fs/promises";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

if (isMainThread) register(import.meta.url);

/** Module hook: turns `.ts` files into JavaScript, types removed. */
export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const { default: typescript } = await import("typescript");
  const { outputText } = typescript.transpileModule(await readFile(new URL(url), "utf8"), {
    fileName: url,
    compilerOptions: { module: "esnext", target: "es2023", verbatimModuleSyntax: true },
  });
  return { format: "module", source: outputText, shortCircuit: true };
}
