// What a stranger gets: packs the packages, checks the tarballs, installs them in an empty project outside the
// repository, and type-checks and runs the README examples there.
// @ts-check
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import ts from "typescript";
import { fences, layOutFiles } from "./examples.mjs";
import { pnpm, root, run } from "./run.mjs";

const names = readdirSync(join(root, "packages"));
const temporary = mkdtempSync(join(tmpdir(), "exitkit-packaging-"));
const emitted = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
let failed = 0;
try {
  /** @type {string[]} */
  const tarballs = [];
  for (const name of names) tarballs.push(await packed(name));
  await installed(tarballs);
} catch (error) {
  report("packaging", [error instanceof Error ? error.message : String(error)]);
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
process.exit(failed === 0 ? 0 : 1);

/**
 * @param {string} title
 * @param {readonly string[]} problems
 */
function report(title, problems) {
  if (problems.length > 0) failed += 1;
  console.log(
    problems.length === 0
      ? `ok     ${title}`
      : `FAILED ${title}\n${problems.map((line) => `       ${line}`).join("\n")}`,
  );
}

/**
 * Runs a command; throws with its output when it fails.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
async function must(command, args, cwd) {
  const { code, output, stdout } = await run(command, args, { cwd, quiet: true });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${output}`);
  return stdout;
}

/**
 * Packs one package and checks the tarball; its path.
 *
 * @param {string} name
 */
async function packed(name) {
  const folder = join(root, "packages", name);
  const into = join(temporary, name);
  mkdirSync(into);
  const { code, output } = await pnpm(["pack", "--pack-destination", into], { cwd: folder, quiet: true });
  if (code !== 0) throw new Error(`pnpm pack of ${name} ended with ${code}:\n${output}`);
  const tarball = join(into, String(readdirSync(into).find((file) => file.endsWith(".tgz"))));
  await must("tar", ["-xzf", tarball, "-C", into], into);
  const content = join(into, "package");

  report(`${name}: what the tarball holds`, contentProblems(content));
  report(
    `${name}: package.json`,
    manifestProblems(name, JSON.parse(readFileSync(join(content, "package.json"), "utf8"))),
  );
  const { messages, pkg } = await publint({ pkgDir: content, strict: true, pack: false });
  report(
    `${name}: publint`,
    messages.map((message) => formatMessage(message, pkg, { color: false }) ?? message.code),
  );
  const attw = await run("attw", [tarball, "--profile", "esm-only", "--no-color", "--no-emoji"], { quiet: true });
  report(`${name}: are the types wrong`, attw.code === 0 ? [] : attw.output.trim().split("\n"));
  return tarball;
}

/** @param {string} content Folder with the unpacked package. */
function contentProblems(content) {
  const files = /** @type {string[]} */ (readdirSync(content, { recursive: true })).map((file) =>
    file.replaceAll("\\", "/"),
  );
  const missing = ["LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.ts"].filter(
    (file) => !files.includes(file),
  );
  const superfluous = files.filter((file) =>
    /(^|\/)(test|tests|fixtures|node_modules|\.examples)(\/|$)|\.test\.|\.tsbuildinfo$|\.env/.test(file),
  );
  const texts = files.filter((file) => /\.(js|ts|mjs|json|md|map|proto)$/.test(file) || file === "LICENSE");
  const machine = [root.replace(/\/$/, ""), tmpdir(), "/home/", "/Users/", "/root/", "file:///"];
  const absolute = texts.flatMap((file) => {
    const text = readFileSync(join(content, file), "utf8");
    return machine.filter((path) => text.includes(path)).map((path) => `${file} names ${path}`);
  });
  const links = [...readFileSync(join(content, "README.md"), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(
    ([, link]) => String(link),
  );
  return [
    ...links
      .filter((link) => !files.includes(link))
      .map((link) => `README.md links to ${link}, which is not in the package`),
    ...missing.map((file) => `${file} is missing`),
    ...superfluous.map((file) => `${file} does not belong there`),
    ...absolute,
  ];
}

/**
 * @param {string} name
 * @param {Record<string, any>} manifest
 */
function manifestProblems(name, manifest) {
  const problems = [];
  const fields = [
    "name",
    "version",
    "description",
    "license",
    "keywords",
    "type",
    "engines",
    "sideEffects",
    "exports",
    "files",
  ];
  for (const field of fields) if (manifest[field] === undefined) problems.push(`${field} is missing`);
  if (manifest.name !== `@exitkit/${name}`) problems.push(`name is ${manifest.name}`);
  if (manifest.private) problems.push("private");
  if (manifest.type !== "module") problems.push(`type is ${manifest.type}`);
  if (JSON.stringify(manifest.exports).includes('"source"'))
    problems.push("exports has the condition source, for the repository only");
  for (const [dependency, range] of Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    if (/^(workspace|catalog|file|link):/.test(String(range))) problems.push(`${dependency} is ${range}`);
  }
  for (const script of ["preinstall", "install", "postinstall"])
    if (manifest.scripts?.[script]) problems.push(`script ${script}`);
  return problems;
}

/**
 * The README example in an empty project that has nothing but the tarballs.
 *
 * @param {readonly string[]} tarballs
 */
async function installed(tarballs) {
  const project = join(temporary, "project");
  if (!relative(root, project).startsWith("..")) throw new Error(`${project} must lie outside ${root}`);
  layOutFiles(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }));
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  await must("npm", ["install", ...flags, ...tarballs], project);
  report("npm install of the tarballs in an empty project", []);

  const readme = join(project, "node_modules/@exitkit/e2cm/README.md");
  const [example] = fences("README.md", readFileSync(readme, "utf8"));
  if (example === undefined) throw new Error("e2cm's README has no example");
  report("e2cm: types of the README example", typeProblems(project, example.code));

  const code = `${example.code}\nprocess.stdout.write(\`RESULT \${JSON.stringify([[...predictions], [...leftAt], fitted.exits.length])}\\n\`);\n`;
  const { outputText } = ts.transpileModule(code, { compilerOptions: emitted });
  writeFileSync(join(project, "example.js"), outputText);
  const printed = await must(process.execPath, ["example.js"], project);
  report("e2cm: the README example runs", resultProblems(printed));
  for (const name of ["core-gpu", "early-exit"]) await readmeExamples(project, name);
}

/**
 * Every example of a package's README.
 *
 * @param {string} project
 * @param {string} name
 */
async function readmeExamples(project, name) {
  const readme = join(project, "node_modules/@exitkit", name, "README.md");
  for (const { line, code } of fences("README.md", readFileSync(readme, "utf8"))) {
    report(`${name}: types of the README example in line ${line}`, typeProblems(project, code));
    writeFileSync(join(project, "example.js"), ts.transpileModule(code, { compilerOptions: emitted }).outputText);
    const { code: status, output } = await run(process.execPath, ["example.js"], { cwd: project, quiet: true });
    const wrong = status !== 0 || output.includes("Assertion failed");
    report(`${name}: the README example in line ${line} runs`, wrong ? output.trim().split("\n") : []);
  }
}

/**
 * @param {string} project
 * @param {string} code
 */
function typeProblems(project, code) {
  const file = join(project, "example.ts");
  writeFileSync(file, code);
  const options = {
    noEmit: true,
    strict: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
    types: [],
    skipLibCheck: true,
  };
  const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options));
  return found.map(
    ({ messageText, file: where }) => `${where?.fileName ?? ""}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
  );
}

/**
 * Checks what the example computed: one class and one exit for each of the 60 pictures, mostly the right classes (the
 * plain network gets 52), and some of them at an early exit.
 *
 * @param {string} printed
 */
function resultProblems(printed) {
  const line = printed.split("\n").find((text) => text.startsWith("RESULT "));
  if (line === undefined) return [`it printed no result:\n${printed}`];
  /** @type {[number[], number[], number]} */
  const [predictions, exits, last] = JSON.parse(line.slice("RESULT ".length));
  const problems = [];
  if (predictions.length !== 60 || exits.length !== 60)
    problems.push(`${predictions.length} predictions, ${exits.length} exits; 60 pictures`);
  // The fixture's picture i is of class i mod 4; see packages/e2cm/fixtures/generate.py.
  const right = predictions.filter((prediction, index) => prediction === index % 4).length;
  if (right < 45) problems.push(`${right} of 60 pictures right`);
  if (!exits.some((exit) => exit < last)) problems.push(`no picture left before exit ${last}, the full network`);
  return problems;
}
