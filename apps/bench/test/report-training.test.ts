import { describe, expect, test } from "vitest";
import { renderReport } from "../src/commands/report.ts";
import { elementsOf } from "./report-markup.ts";
import { sampleTrainCifar10, sampleTrainStep } from "./train-samples.ts";

const plain = (html: string) => html.replaceAll("\u00a0", " ").replaceAll("\u2011", "-");
const headlineOf = (page: string) => plain(/<h1>([^<]*)<\/h1>/.exec(page)![1]!);
const sectionOf = (page: string, id: string) => {
  const start = page.indexOf(`<section id="${id}">`);
  expect(start, `section ${id}`).toBeGreaterThan(0);
  return plain(page.slice(start, page.indexOf("</section>", start)));
};
const bare = (experiment: string) => ({ experiment, preset: "quick", seed: 3, device: "cpu" });

describe("the report of train-cifar10", () => {
  test("is well-formed, whole and in parts", () => {
    const result = sampleTrainCifar10();
    for (const part of [null, "data", "rows", "curve", "spread", "recipe"]) {
      const page = renderReport([Object.fromEntries(Object.entries(result).filter(([key]) => key !== part))]);
      expect(elementsOf(page).length).toBeGreaterThan(20);
      expect(page, String(part)).not.toMatch(/NaN|undefined|Infinity|\[object/);
    }
  });

  test("says how good the network got, and whether that was the goal", () => {
    const result = sampleTrainCifar10(1);
    const accuracy = (value: number) => ({ ...result, rows: [{ ...result.rows[0]!, testAccuracy: value }] });
    const page = renderReport([accuracy(0.8912)]);
    expect(headlineOf(page)).toBe(
      "ResNet-20, trained from scratch for 12 epochs, answers 89.1 % of 10,000 CIFAR-10 test pictures right.",
    );
    expect(plain(page)).toContain("✓ Goal met: at least 88 % right after at most 20 epochs");
    expect(plain(renderReport([accuracy(0.8799)]))).toContain("✗ Goal not met");
  });

  test("of a part of the pictures says only that the network learns", () => {
    const result = sampleTrainCifar10(1, 3);
    const part = { ...result, rows: [{ ...result.rows[0]!, pictures: 5000, testAccuracy: 0.5 }] };
    const page = renderReport([part]);
    expect(headlineOf(page)).toMatch(
      /^ResNet-20, trained from scratch on 5,000 pictures for 3 epochs: its loss falls from 1\.73 to 1\.\d\d, and it answers 50\.0 % of 10,000 test pictures right\.$/,
    );
    expect(plain(page)).toContain("✓ Goal met: the loss falls and the test accuracy rises");
    const stuck = { ...part, curve: part.curve.map((row) => ({ ...row, trainLoss: 2.3 })) };
    expect(plain(renderReport([stuck]))).toContain("✗ Goal not met");
  });

  test("draws training and test curves, and every epoch as numbers", () => {
    const result = sampleTrainCifar10(2, 4);
    const section = sectionOf(renderReport([result]), "curve");
    for (const name of ["training, mean", "test, seed 1", "test, seed 2", "Loss by epoch", "Accuracy by epoch"]) {
      expect(section).toContain(name);
    }
    const rows = section.match(/<th scope="row">\d<\/th><td>\d<\/td>/g) ?? [];
    expect(rows.length).toBe(8);
    expect(sectionOf(renderReport([sampleTrainCifar10()]), "seeds")).toMatch(/3 seeds: \d\d\.\d\d % on average/);
  });

  test("has units in words", () => {
    expect(sectionOf(renderReport([sampleTrainCifar10(1, 2)]), "measured")).toContain("<dt>memory (GiB)</dt>");
  });

  test("of nothing says that nothing was measured", () => {
    const page = renderReport([bare("train-cifar10")]);
    expect(headlineOf(page)).toBe("Training from scratch: nothing was measured in this run.");
    for (const id of ["curve", "seeds"]) expect(sectionOf(page, id)).toContain("Not measured in this run.");
  });
});

describe("the report of train-step", () => {
  test("says from where to where the speed reaches, and every number", () => {
    const page = renderReport([sampleTrainStep()]);
    elementsOf(page);
    expect(headlineOf(page)).toBe("Training computes from 61 GFLOP/s (ResNet-20) to 95 GFLOP/s (ViT).");
    const section = sectionOf(page, "throughput");
    for (const text of ["ResNet-56", "64 pictures", "4 sequences", "60.7", "64.7", "94.7", "80.0"]) {
      expect(section).toContain(text);
    }
  });

  test("of nothing says that nothing was measured", () => {
    const page = renderReport([bare("train-step")]);
    expect(headlineOf(page)).toBe("The speed of training: nothing was measured in this run.");
    expect(sectionOf(page, "throughput")).toContain("Not measured in this run.");
  });
});
