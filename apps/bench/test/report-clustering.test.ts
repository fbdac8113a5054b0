import { describe, expect, test } from "vitest";
import { renderReport } from "../src/commands/report.ts";
import { sampleClustering } from "./clustering-samples.ts";
import { elementsOf } from "./report-markup.ts";

const plain = (html: string) =>
  html.replaceAll(' class="text"', "").replaceAll("\u00a0", " ").replaceAll("\u2011", "-").replaceAll("&#39;", "'");
const headlineOf = (page: string) => plain(/<h1>([^<]*)<\/h1>/.exec(page)![1]!);
const sectionOf = (page: string, id: string) => {
  const start = page.indexOf(`<section id="${id}">`);
  expect(start, `section ${id}`).toBeGreaterThan(0);
  return plain(page.slice(start, page.indexOf("</section>", start)));
};

describe("the report of e2cm-clustering", () => {
  const result = sampleClustering();
  const page = renderReport([result]);

  test("is well-formed, whole and in parts", () => {
    for (const part of [null, "data", "rows", "runs", "means", "saving", "paper", "recipe"]) {
      const one = renderReport([Object.fromEntries(Object.entries(result).filter(([key]) => key !== part))]);
      expect(elementsOf(one).length).toBeGreaterThan(20);
      expect(one, String(part)).not.toMatch(/NaN|undefined|Infinity|\[object/);
    }
    const bare = renderReport([{ experiment: "e2cm-clustering", preset: "quick", seed: 3, device: "cpu" }]);
    expect(headlineOf(bare)).toContain("nothing was measured");
  });

  test("begins with what stopping early saves within a point", () => {
    const [{ point, fullAccuracy }] = result.saving as [(typeof result.saving)[number]];
    expect(headlineOf(page)).toBe(
      `Fashion-MNIST, clustered without labels: ${Math.round(100 * point!.macsFraction)} % of the computation keeps the clustering accuracy to within a point, ${(100 * point!.accuracy).toFixed(1)} % instead of ${(100 * fullAccuracy).toFixed(1)} % (mean of 10 runs).`,
    );
    const none = { ...result, saving: result.saving.map((one) => ({ ...one, point: null })) };
    expect(headlineOf(renderReport([none]))).toContain("no cost below the plain network's");
  });

  test("draws the mean and the paper by name, every run without one", () => {
    const section = sectionOf(page, "curve");
    for (const name of ["mean of 10 runs", "the paper's mean", "plain network, mean: "]) {
      expect(section).toContain(name);
    }
    expect(section).not.toContain(">run 3<");
    expect(section.match(/stroke="var\(--axis\)"/g)!.length).toBeGreaterThanOrEqual(20);
    expect(section).toContain('<th scope="row">Fashion-MNIST</th><td>0.376 ×</td>');
  });

  test("says for every number of the paper what was measured", () => {
    const section = sectionOf(page, "paper");
    expect(section).toContain('<th scope="row">Fashion-MNIST</th><td>0.235 ×</td>');
    expect(section).toContain("56.50 %");
    expect(section.match(/not measured/g)).toHaveLength(4);
    expect(sectionOf(page, "runs").match(/<th scope="row">Fashion-MNIST, \d+<\/th>/g)).toHaveLength(10);
    expect(sectionOf(page, "layers")).toContain('<th scope="row">Fashion-MNIST</th><td>layer 3</td>');
    expect(sectionOf(page, "measured")).toContain("0000000000");
    expect(sectionOf(page, "measured")).toContain("100 % is the plain encoder.");
  });

  test("says how many runs had settled, and what was clustered", () => {
    expect(sectionOf(page, "runs")).toContain("1 of 10 runs had settled; IDEC itself trains up to 20,000 steps");
    expect(sectionOf(page, "runs").match(/, not settled/g)).toHaveLength(9);
    const asked = { ...result, recipe: { ...result.recipe, tolerance: 0.001 }, config: { data: "CIFAR-10" } };
    const own = renderReport([asked]);
    expect(sectionOf(own, "measured")).toContain("(fewer than 0.1 % of answers changed)");
    expect(sectionOf(own, "measured")).not.toContain("CIFAR-10");
  });

  test("gives a single run no deviation", () => {
    const alone = result.means.map(({ deviation: _, ...mean }) => ({ ...mean, runs: 1 }));
    const rows = result.rows.filter(({ run }) => run === 1);
    const single = renderReport([{ ...result, means: alone, rows, runs: result.runs.slice(0, 1) }]);
    expect(single).not.toMatch(/± \d|NaN|undefined/);
  });
});
