import { readdirSync } from "node:fs";
import { defineConfig } from "vitest/config";

// The `source` export condition resolves workspace packages to their TypeScript, so tests need no build.
const conditions = ["source", "node", "import", "default"];

const roots = ["packages", "apps"].flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`));

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    projects: [
      ...roots.map((root) => ({
        extends: true as const,
        test: { name: root, root, include: ["test/**/*.test.ts"] },
      })),
      { extends: true, test: { name: "docs", root: ".", include: ["test/**/*.test.ts"] } },
    ],
  },
});
