// How long eeprune takes to choose among many samples, and how much memory; one thread.
//
//     node apps/bench/peers/time-selection.mjs
//
// 10 million rows of columns by the criterion, with equal and with unequal classes; 25,000 of 50,000 samples of 64 features by herding and by
// k-centre. Values are random: only their number matters for the first, and for k-centre the features are as spread as can be. Build
// first (pnpm build).
// @ts-check
import { generator, pruneBy, pruneByEarlyExit } from "@exitkit/eeprune";

const random = generator(1);

function rows(n = 10_000_000, classes = 100) {
  const labels = Int32Array.from({ length: n }, () => random.integer(classes));
  const rightIn = (/** @type {number} */ share) =>
    labels.map((label) => (random.uniform() < share ? label : random.integer(classes)));
  const columns = {
    labels,
    earlyPrediction: rightIn(0.7),
    finalPrediction: rightIn(0.9),
    earlyConfidence: Float32Array.from(labels, () => random.uniform()),
  };
  for (const balanced of /** @type {const} */ ([false, true, "byDifficulty"])) {
    const options = { classes, ratio: 0.5, shortfall: /** @type {const} */ ("fillByEarlyConfidence"), balanced };
    timed(`${n / 1e6} million rows, balanced: ${balanced}`, () =>
      pruneByEarlyExit(columns, { ...options, generator: generator(2) }),
    );
  }
}

function features(n = 50_000, d = 64) {
  const data = Float32Array.from({ length: n * d }, () => Math.max(0, 3 * random.uniform() - 1.2));
  const evidence = {
    labels: new Int32Array(n).map((_, i) => i % 10),
    classes: 10,
    features: { dtype: /** @type {const} */ ("float32"), shape: [n, d], data },
  };
  for (const method of /** @type {const} */ (["herding", "kCentre"])) {
    timed(`${method}, half of ${n} × ${d}`, () => pruneBy(method, evidence, { ratio: 0.5, generator: generator(3) }));
  }
}

/** @param {string} what @param {() => { kept: Int32Array }} run */
function timed(what, run) {
  const begun = performance.now();
  const { kept } = run();
  const seconds = (performance.now() - begun) / 1000;
  const peak = process.resourceUsage().maxRSS / 1024;
  process.stdout.write(`${what}: ${kept.length} kept in ${seconds.toFixed(2)} s; peak so far ${peak.toFixed(0)} MiB\n`);
}

rows();
features();
