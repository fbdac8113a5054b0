/** Arrows between packages point down only: bench -> methods -> early-exit -> core-gpu. */
module.exports = {
  forbidden: [
    // Types may point back: a gradient rule is written with the operators it is handed.
    {
      name: "no-circular",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "core-knows-no-exit",
      severity: "error",
      from: { path: "^packages/core-gpu/" },
      to: { path: "^(packages/(?!core-gpu/)|apps/)" },
    },
    {
      name: "early-exit-on-core-only",
      severity: "error",
      from: { path: "^packages/early-exit/" },
      to: { path: "^(packages/(?!core-gpu/|early-exit/)|apps/)" },
    },
    {
      name: "methods-import-no-method",
      severity: "error",
      from: { path: "^packages/(e2cm|cbt|prune-ee|eeprune|llm-exit-init)/" },
      to: { path: "^(packages/(?!core-gpu/|early-exit/)|apps/)", pathNot: "^packages/$1/" },
    },
    {
      name: "through-the-front-door",
      severity: "error",
      from: { path: "^(packages|apps)/([^/]+)/" },
      to: { path: "^packages/[^/]+/(src|dist)/(?!index\\.)", pathNot: "^$1/$2/" },
    },
    // What several experiments of one method share is in a folder of the method's name.
    {
      name: "one-room-for-each-experiment",
      severity: "error",
      from: { path: "^apps/bench/src/experiments/([^/]+)/" },
      to: { path: "^apps/bench/src/experiments/[^/]+/", pathNot: "^apps/bench/src/experiments/($1|e2cm)/" },
    },
    {
      name: "mechanisms-know-no-experiment",
      severity: "error",
      from: { path: "^apps/bench/src/(?!experiments|commands|cli)" },
      to: { path: "^apps/bench/src/experiments/([^/]+/|index|rooms)" },
    },
    { name: "src-needs-no-test", severity: "error", from: { path: "/src/" }, to: { path: "/(test|fixtures)/" } },
    // Workspace packages are "undetermined" here; one that is not declared does not resolve at all.
    {
      name: "declared-dependencies",
      severity: "error",
      from: { path: "/src/" },
      to: {
        dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev", "unknown", "undetermined"],
        pathNot: "^packages/[^/]+/src/index\\.ts$",
      },
    },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/(dist|fixtures)/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["source", "import", "node", "default", "types"],
      extensions: [".ts", ".js", ".mjs", ".json", ".d.ts"],
      mainFields: ["main", "types"],
    },
  },
};
