import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const below = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md") && !/node_modules|docs\/api/.test(entry.parentPath))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
const readmes = readdirSync(join(root, "packages")).map((name) => `packages/${name}/README.md`);

describe("links of the pages", () => {
  for (const page of ["README.md", "CONTRIBUTING.md", ...readmes, ...below("docs")]) {
    it(page, () => {
      const text = readFileSync(join(root, page), "utf8");
      const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link]) => link!);
      const broken = links.filter((link) => !existsSync(resolve(root, dirname(page), link)));
      expect(broken, `broken links of ${page}`).toEqual([]);
    });
  }
});
