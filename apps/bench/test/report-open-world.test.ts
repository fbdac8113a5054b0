import { describe, expect, test } from "vitest";
import { renderReport } from "../src/report/report.ts";
import { sampleOpenWorld } from "./open-world-samples.ts";
import { elementsOf } from "./report-markup.ts";

const plain = (html: string) => html.replaceAll("\u00a0", " ").replaceAll("\u2011", "-");
const headlineOf = (page: string) => plain(/<h1>([^<]*)<\/h1>/.exec(page)![1]!);
const sectionOf = (page: string, id: string) => {
  const start = page.indexOf(`<section id="${id}">`);
  expect(start, `section ${id}`).toBeGreaterThan(0);
  return plain(page.slice(start, page.indexOf("</section>", start)));
};

describe("the report of open-world", () => {
  test("is well-formed, whole and in parts", { timeout: 30_000 }, () => {
    const result = sampleOpenWorld();
    for (const part of [null, "data", "unknown", "rows", "rejection", "online", "weights", "unseenAccuracy"]) {
      const page = renderReport([Object.fromEntries(Object.entries(result).filter(([key]) => key !== part))]);
      expect(elementsOf(page).length).toBeGreaterThan(20);
      expect(page, String(part)).not.toMatch(/NaN|undefined|Infinity|\[object/);
    }
  });

  test("begins with the best exit of each score, and what is turned away", () => {
    const page = renderReport([sampleOpenWorld()]);
    expect(headlineOf(page)).toBe(
      "Unknown pictures (CIFAR-100, far) are told from known ones with an AUROC of 0.750 by their distance to the class means, and of 0.830 by the largest probability.",
    );
    expect(plain(page)).toContain("31 %, 31 %");
    expect(plain(page)).toContain("turned away by probability, and 4.1 % of known ones");
  });

  test("shows every number, and says what the networks have seen", () => {
    const page = renderReport([sampleOpenWorld()]);
    expect(sectionOf(page, "auroc")).toContain("All 24 numbers");
    expect(sectionOf(page, "auroc")).toContain("0.580 ± 0.010");
    expect(sectionOf(page, "auroc")).toContain("have seen the classes that are “held out”");
    expect(sectionOf(page, "rejection")).toContain("At most 5 % of known pictures");
    expect(sectionOf(page, "online")).toContain("all, as fitted again");
    expect(sectionOf(page, "online")).toContain("92.5 % ± 2.0");
    expect(sectionOf(page, "measured")).toContain("80.0 % right among them");
  });

  test("of nothing says that nothing was measured", () => {
    const page = renderReport([{ experiment: "open-world", preset: "quick", seed: 3, device: "cpu" }]);
    expect(headlineOf(page)).toBe("The open world: nothing was measured in this run.");
    for (const id of ["auroc", "rejection", "online"]) {
      expect(sectionOf(page, id)).toContain("Not measured in this run.");
    }
  });
});
