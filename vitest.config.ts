import { defineConfig } from "vitest/config";

// The `source` export condition resolves workspace packages to their TypeScript, so tests need no build.
const conditions = ["source", "node", "import", "default"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    projects: ["packages/*", "apps/*"].map((root) => ({ extends: true as const, test: { name: root, root } })),
  },
});
