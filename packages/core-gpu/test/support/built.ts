import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** JavaScript of a module and of all that it imports here, for threads and processes that start often. */
export interface Built {
  /** The module's file. */
  readonly entry: string;
  remove(): Promise<void>;
}

/**
 * Translates a module of this package and the modules it imports by relative paths, once.
 *
 * @param entry Its path from the package's root, `test/….ts`.
 */
export async function build(entry: string): Promise<Built> {
  // Within the package's own node_modules, so that what they import from other packages is found.
  const folder = await mkdtemp(join(root, "node_modules/.built-"));
  const pending = [entry];
  const seen = new Set(pending);
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const { outputText } = ts.transpileModule(await readFile(join(root, name), "utf8"), {
      compilerOptions: {
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2023,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
      },
    });
    for (const [, path] of outputText.matchAll(/(?:from|import) ?"(\.{1,2}\/[^"]+)\.js"/g)) {
      const imported = `${join(dirname(name), path!)}.ts`;
      if (!seen.has(imported)) pending.push(imported);
      seen.add(imported);
    }
    const target = join(folder, scriptOf(name));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, outputText);
  }
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  return { entry: join(folder, scriptOf(entry)), remove: () => rm(folder, { recursive: true, force: true }) };
}

function scriptOf(name: string): string {
  return name.replace(/\.ts$/, ".js");
}
