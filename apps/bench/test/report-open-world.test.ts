import { describe, expect, test } from "vitest";
import { renderReport } from "../src/commands/report.ts";
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
    const parts = [null, "data", "unknown", "rows", "rejection", "online", "weights", "settings", "heldOut", "unseen"];
    for (const part of parts) {
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

  test("leads with classes no network has seen, and says whether it has", () => {
    const result = sampleOpenWorld();
    expect(plain(renderReport([result]))).toMatch(
      /32\.5 %<\/b><span>of new classes’ pictures right, from 10 pictures a class: classes the network has never seen/,
    );
    const seen = { ...result, online: result.online.filter(({ unknown }) => unknown === "held out") };
    expect(plain(renderReport([seen]))).toMatch(
      /92\.5 %<\/b><span>of new classes’ pictures right, from 10 pictures a class: classes the network was trained on/,
    );
  });

  test("shows every number, and says what the networks have seen", () => {
    const page = renderReport([sampleOpenWorld()]);
    expect(sectionOf(page, "auroc")).toContain("All 36 numbers");
    expect(sectionOf(page, "auroc")).toContain("0.580 ± 0.010");
    expect(sectionOf(page, "auroc")).toContain("have seen the classes that are “held out”");
    expect(sectionOf(page, "auroc")).toContain("over pairs of held-out classes");
    expect(sectionOf(page, "rejection")).toContain("At most 5 % of known pictures");
    expect(sectionOf(page, "rejection")).toContain("Thresholds lose at most 2.0 points against the plain network");
    expect(sectionOf(page, "rejection")).toContain("25 % / 35 % / 40 %");
    expect(sectionOf(page, "online")).toContain("2 × 3");
    expect(sectionOf(page, "online")).toContain("<td>81.00 %</td><td>1 × 1</td>");
    expect(sectionOf(page, "online")).toContain("all, as fitted again");
    expect(sectionOf(page, "online")).toContain("92.50 % ± 2.00");
    expect(sectionOf(page, "measured")).toContain("(cat and ship; dog and frog)");
    expect(sectionOf(page, "measured")).toContain("20,000 pictures, 8 epochs");
    expect(sectionOf(page, "measured")).toContain("Without cat and ship: 80.00 % right among the others.");
    expect(sectionOf(page, "measured")).toContain("CIFAR-10, CIFAR-100 subset");
  });

  test("of nothing says that nothing was measured", () => {
    const page = renderReport([{ experiment: "open-world", preset: "quick", seed: 3, device: "cpu" }]);
    expect(headlineOf(page)).toBe("The open world: nothing was measured in this run.");
    for (const id of ["auroc", "rejection", "online"]) {
      expect(sectionOf(page, id)).toContain("Not measured in this run.");
    }
  });
});
