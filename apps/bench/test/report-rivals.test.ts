import { describe, expect, it } from "vitest";
import { renderReport } from "../src/commands/report.ts";
import { elementsOf } from "./report-markup.ts";
import { sampleRivals } from "./rivals-samples.ts";

const plain = (html: string) =>
  html.replaceAll("\u00a0", " ").replaceAll("\u2011", "-").replaceAll(' class="text"', "");
const sectionOf = (page: string, id: string) => {
  const start = page.indexOf(`<section id="${id}">`);
  expect(start, `section ${id}`).toBeGreaterThan(0);
  return plain(page.slice(start, page.indexOf("</section>", start)));
};
const SECTIONS = ["one-epoch", "within", "effort", "unlimited", "exits", "poster", "wall", "claims"];

describe("the report of e2cm-rivals", { timeout: 60_000 }, () => {
  it("is well-formed, whole and in parts", () => {
    const result = sampleRivals();
    const lists = [
      "datasets",
      "settings",
      "rows",
      "within",
      "perExit",
      "training",
      "diverged",
      "memory",
      "wall",
      "poster",
      "figure",
      "claims",
    ];
    for (const part of [null, ...lists]) {
      const page = renderReport([Object.fromEntries(Object.entries(result).filter(([key]) => key !== part))]);
      expect(elementsOf(page).length).toBeGreaterThan(20);
      expect(page, String(part)).not.toMatch(/NaN|undefined|Infinity|\[object/);
    }
  });

  it("says first what one pass gives beside one epoch", () => {
    const page = plain(renderReport([sampleRivals()]));
    expect(/<h1>([^<]*)<\/h1>/.exec(page)![1]).toBe(
      "With a quarter of the multiply-accumulates, one pass of E²CM answers 67.7 % of the CIFAR-10 pictures right, one epoch of SDN 54.3 %.",
    );
    expect(page).toContain(
      "E²CM, with exits at the same places, is 13.4 points ahead of SDN. Fitting takes 230 seconds, an epoch of SDN 110.",
    );
    const sample = sampleRivals();
    const rows = sample.rows.filter(({ method }) => method !== "e2cm-places");
    expect(plain(renderReport([{ ...sample, rows }]))).toContain(
      "E²CM, in its default form, is 11.9 points ahead of SDN. Fitting takes 70 seconds, an epoch of SDN 110.",
    );
  });

  it("draws both budgets, and the paper's figure where it has one", () => {
    const page = renderReport([sampleRivals()]);
    const one = sectionOf(page, "one-epoch");
    for (const text of [
      "Measured here: ResNet-56",
      "The paper: ResNet-152",
      "BranchyNet",
      "SDN, joint",
      "Means over 2 seeds",
    ]) {
      expect(one).toContain(text);
    }
    expect(one.match(/The paper: /g)).toHaveLength(1);
    expect(sectionOf(page, "unlimited")).toContain("Exits trained for 5 epochs on the frozen network.");
  });

  it("has the poster's table with the spread, and says what was not attempted", () => {
    const section = sectionOf(renderReport([sampleRivals()]), "poster");
    expect(section).toMatch(/CIFAR-10: SDN, 5 epochs<\/th><td>43\.\d\d % ± 0\.\d\d/);
    expect(section).toContain("the paper, CIFAR-10: E²CM + SDN</th><td>82.40 %");
    expect(section).toContain("Not attempted here with an unlimited budget: gates (BWDS).");
    expect(sectionOf(renderReport([sampleRivals(1)]), "poster")).not.toContain("±");
  });

  it("tells what is unknown from what was measured", () => {
    const page = renderReport([sampleRivals(1)]);
    expect(sectionOf(page, "effort")).toMatch(
      /CIFAR-10<\/th><td>SDN, joint<\/td><td>one epoch<\/td><td>1 epoch<\/td><td>–<\/td><td>–<\/td><td>360 MiB/,
    );
    expect(sectionOf(page, "within")).toMatch(/CIFAR-10<\/th><td>BranchyNet<\/td><td>one epoch<\/td><td>–/);
    expect(sectionOf(page, "effort")).toContain("diverged: seed 9 in step 63");
    expect(sectionOf(page, "exits")).toMatch(
      /CIFAR-10<\/th><td>SDN<\/td><td>unlimited<\/td><td>70\.00 % \(0\.300 ×\)<\/td><td>80\.00 % \(0\.600 ×\)/,
    );
    const wall = sectionOf(page, "wall");
    expect(wall).toContain("aimed at losing 1.0 point");
    expect(wall).toContain("at most 50 % of the MACs");
    expect(wall.match(/loss not kept/g)).toHaveLength(2);
    const claims = sectionOf(page, "claims");
    for (const status of ["as the paper says", "otherwise", "not attempted"])
      expect(claims).toContain(`>${status}</span>`);
  });

  it("of nothing says that nothing was measured", () => {
    const page = renderReport([{ experiment: "e2cm-rivals", preset: "quick", seed: 1, device: "cpu" }]);
    expect(page).toContain("nothing to compare was measured in this run");
    for (const id of SECTIONS) expect(sectionOf(page, id)).toContain("Not measured in this run.");
  });
});
