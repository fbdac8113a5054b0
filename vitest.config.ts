import { readdirSync } from "node:fs";
import { defineConfig } from "vitest/config";

// The `source` export condition resolves workspace packages to their TypeScript, so tests need no build.
const conditions = ["source", "node", "import", "default"];

const roots = ["packages", "apps"].flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`));

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    // A test file is another file's neighbour in one process: modules and the runtime are loaded once, and nothing may be left behind.
    isolate: false,
    // One for each core; vitest itself would leave one free.
    maxWorkers: "100%",
    // No test is about time; a busy machine is slow.
    testTimeout: 60_000,
    projects: [
      ...roots.map((root) => ({
        extends: true as const,
        test: { name: root, root, include: ["test/**/*.test.ts"] },
      })),
      { extends: true, test: { name: "docs", root: ".", include: ["test/**/*.test.ts"] } },
    ],
  },
});
