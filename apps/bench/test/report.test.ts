import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { renderReport, writeReport } from "../src/commands/report.ts";
import { temporaryFolder } from "./helpers.ts";
import { elementsOf } from "./report-markup.ts";
import { sampleE2cm, sampleStaged } from "./report-samples.ts";

const SECTIONS = "frontier rules depth shares confusion speed variants fitting examples measured".split(" ");

const bare = (experiment: string) => ({ experiment, preset: "quick", seed: 3, device: "cpu" });

/** A result with one backbone and one protocol. */
function small() {
  const result = sampleE2cm();
  const only = <T extends { readonly backbone: string }>(rows: readonly T[]) =>
    rows.filter(({ backbone }) => backbone === "resnet20");
  return {
    ...result,
    perExit: only(result.perExit),
    confusion: result.confusion.slice(0, 2),
    rows: only(result.rows).filter(({ protocol }) => protocol === "sound"),
    wall: only(result.wall),
  };
}

/** A result without what takes long to draw. */
function plain() {
  return { ...sampleE2cm(), perExit: [], confusion: [], rows: [] };
}

/** The markup of one section. */
function section(page: string, id: string): string {
  const start = page.indexOf(`<section id="${id}">`);
  if (start < 0) throw new Error(`no section ${id}`);
  return page.slice(start, page.indexOf("</section>", start));
}

function headlineOf(page: string): string {
  return /<h1>([^<]*)<\/h1>/.exec(page)![1]!.replaceAll("\u00a0", " ").replaceAll("\u2011", "-");
}

describe("the page", () => {
  const page = renderReport([sampleE2cm(), sampleStaged()]);

  test("is well-formed and so is every smaller report", () => {
    for (const one of [
      page,
      renderReport([sampleStaged()]),
      renderReport([bare("e2cm-cifar10")]),
      renderReport([small(), small()]),
    ]) {
      expect(elementsOf(one).length).toBeGreaterThan(20);
    }
  });

  test("the check for well-formed markup can fail", () => {
    expect(() => elementsOf("<p><b></p></b>")).toThrow("closes");
    expect(() => elementsOf("<p>a < b</p>")).toThrow("bare <");
    expect(() => elementsOf("<p>a & b</p>")).toThrow("bare &");
    expect(() => elementsOf('<p id="a"></p><p id="a"></p>')).toThrow("two elements");
    expect(() => elementsOf("<p>")).toThrow("not closed");
  });

  test("loads nothing: no address, no script, pictures as data", () => {
    expect(page).not.toMatch(/https?:\/\//);
    expect(page).not.toMatch(/@import|url\((?!#)/);
    for (const { name, attributes } of elementsOf(page)) {
      expect(["script", "link", "iframe", "object", "embed", "base", "form"]).not.toContain(name);
      for (const [key, value] of attributes) {
        expect(key).not.toMatch(/^on|srcset/);
        if (key === "src") expect(value).toMatch(/^data:image\/png;base64,/);
        if (key === "href") expect(value).toMatch(/^#/);
      }
    }
    expect(page).toContain("default-src 'none'");
  });

  test("links of the contents lead to sections", () => {
    const elements = elementsOf(page);
    const ids = new Set(elements.map(({ attributes }) => attributes.get("id")));
    const links = elements.filter(({ name }) => name === "a").map(({ attributes }) => attributes.get("href")!);
    expect(links.length).toBeGreaterThan(10);
    for (const link of links) expect(ids).toContain(link.slice(1));
  });

  test("has every section, none of them empty", () => {
    for (const id of [...SECTIONS, "2-overhead", "2-measured"]) {
      expect(section(page, id).length, id).toBeGreaterThan(300);
      expect(section(page, id), id).not.toContain("ot measured in this run");
    }
    expect(page).not.toMatch(/NaN|undefined|Infinity|\[object/);
  });

  test("is the same for the same results", () => {
    expect(renderReport([small(), sampleStaged()])).toBe(renderReport([small(), sampleStaged()]));
  });
});

describe("the headline", () => {
  test("says the numbers of the sound operating point that was asked to lose half a point, and its time", () => {
    const result = plain();
    const page = renderReport([result]);
    const point = result.operating.find(
      (one) =>
        one.backbone === "resnet56" &&
        one.protocol === "sound" &&
        one.wantedLoss === 0.005 &&
        one.metric === "sharedCovariance",
    )!;
    const time = result.wall.find(
      (row) =>
        row.backbone === "resnet56" &&
        row.metric === "sharedCovariance" &&
        row.batch === 64 &&
        row.macsFraction === point.macsFraction,
    )!;
    const lost = ((result.full!.accuracy - point.accuracy) * 100).toFixed(1);
    expect(headlineOf(page)).toBe(
      `ResNet-56 answers 10,000 CIFAR-10 pictures with ${Math.round(point.macsFraction * 100)} % of the multiply-accumulates and ${Math.round(time.wallFraction * 100)} % of the time, losing ${lost} points of accuracy.`,
    );
    expect(page).toContain("Goal met");
  });

  test("says so when more was lost than wanted", () => {
    const result = plain();
    const operating = result.operating.map((one) => ({ ...one, accuracy: one.accuracy - 0.02 }));
    const wall = result.wall.map((row) => ({ ...row, accuracy: row.accuracy - 0.02 }));
    const page = renderReport([{ ...result, operating, wall }]);
    expect(headlineOf(page)).toContain("losing 2.5 points");
    expect(page).toContain("Goal not met");
    expect(page.replaceAll("\u00a0", " ")).toContain("loses 2.0 points more than that on the test pictures");
  });

  test("says so when no time is won", () => {
    const result = plain();
    const wall = result.wall.map((row) => ({ ...row, wallFraction: 1.042 }));
    const page = renderReport([{ ...result, wall }]);
    expect(headlineOf(page)).toContain(", but takes 104 % of the time, losing");
    expect(page).toContain("Goal not met");
    expect(page).toContain("does not show in time");
  });

  test("does without times, and without operating points", () => {
    const result = plain();
    const untimed = renderReport([{ ...result, wall: [] }]);
    expect(headlineOf(untimed)).toMatch(/of the multiply-accumulates, losing/);
    expect(untimed).toContain("Time was not measured at this setting.");
    expect(headlineOf(renderReport([{ ...result, operating: [] }]))).toBe(
      "ResNet-56 answers 94.4 % of the CIFAR-10 test pictures right; what its exits save was not measured in this run.",
    );
  });

  test("a gain is called a gain", () => {
    const result = plain();
    const operating = result.operating.map((one) => ({ ...one, accuracy: 0.9467 }));
    expect(headlineOf(renderReport([{ ...result, operating, wall: [] }]))).toContain("gaining 0.3 points of accuracy");
  });

  test("of staged-overhead is the median and the worst extra time without exits", () => {
    const [row] = sampleStaged().rows;
    const idle = [0.01, 0.03, 0.11].map((extra, index) => ({
      ...row!,
      scenario: "no exits",
      batch: index + 1,
      macsFraction: 1,
      wallFraction: 1 + extra,
    }));
    const half = { ...row!, scenario: "half leave at each exit", macsFraction: 0.5, wallFraction: 0.9 };
    const page = renderReport([{ ...sampleStaged(), rows: [...idle, half] }]);
    expect(headlineOf(page)).toBe(
      "Running a network in stages adds 3.0 % to its time when no picture leaves early (median of 3 settings), and at worst 11.0 %.",
    );
  });
});

describe("reports of parts", () => {
  test("an empty run says of every section that it was not measured", () => {
    const page = renderReport([bare("e2cm-cifar10")]);
    for (const id of SECTIONS.filter((id) => id !== "measured")) {
      expect(section(page, id), id).toContain("Not measured in this run.");
    }
    expect(section(page, "measured")).toContain("Not recorded in this run.");
  });

  test("one experiment alone names the other as not measured", () => {
    expect(section(renderReport([sampleStaged()]), "missing-e2cm-cifar10")).toContain("Not measured in this run.");
    expect(section(renderReport([plain()]), "missing-staged-overhead")).toContain("bench run staged-overhead");
    expect(section(renderReport([bare("staged-overhead")]), "overhead")).toContain("Not measured in this run.");
  });

  test("every single missing part leaves the others as they are", { timeout: 20_000 }, () => {
    const result = small();
    const whole = section(renderReport([result]), "speed");
    for (const part of [
      "backbones",
      "perExit",
      "confusion",
      "rows",
      "operating",
      "wall",
      "fit",
      "overhead",
      "examples",
      "data",
      "weights",
      "classNames",
      "full",
    ] as const) {
      const { [part]: _, ...rest } = result;
      const page = renderReport([rest]);
      elementsOf(page);
      expect(page, part).not.toMatch(/NaN|undefined|Infinity|\[object/);
      if (part === "confusion") expect(section(page, "speed")).toBe(whole);
    }
  });

  test("one picture, one exit, one point", () => {
    const result = sampleE2cm();
    const page = renderReport([
      {
        ...result,
        perExit: result.perExit.slice(0, 1),
        rows: result.rows.slice(-1),
        wall: result.wall.slice(0, 1),
        operating: [{ ...result.operating[0]!, shares: [{ exit: "full", share: 1 }] }],
        confusion: [{ ...result.confusion[0]!, matrix: [[0]] }],
      },
    ]);
    elementsOf(page);
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });
});

test("whatever a result says is text, never markup", () => {
  const evil = `</style><img src=x onerror="alert('1')">&`;
  const result = sampleE2cm();
  const spoil = (value: unknown): unknown => {
    if (typeof value === "string") return value + evil;
    if (Array.isArray(value)) return value.map(spoil);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, key === "experiment" ? inner : spoil(inner)]),
    );
  };
  const named = spoil({ ...result, config: { [evil]: evil }, environment: { [evil]: [evil, { [evil]: evil }] } });
  for (const page of [renderReport([named]), renderReport([spoil(sampleStaged())])]) {
    const elements = elementsOf(page);
    expect(elements.filter(({ attributes }) => attributes.has("onerror"))).toEqual([]);
    expect(elements.filter(({ name, attributes }) => name === "img" && attributes.get("src") === "x")).toEqual([]);
    expect(page).toContain("&lt;/style&gt;");
  }
});

test("a picture that is no PNG data URI is not shown", () => {
  const result = plain();
  const first = [{ ...result.examples!.first[0]!, png: "https://example.com/spy.png" }];
  const page = renderReport([{ ...result, examples: { first, last: [] } }]);
  expect(page).not.toContain("example.com");
  expect(section(page, "examples")).toContain("no picture");
});

test("bad inputs are refused by name", () => {
  expect(() => renderReport([])).toThrow("bench.report: there must be at least one result; got none");
  expect(() => renderReport([{ experiment: "cooking" }])).toThrow("experiment of result 1");
  const [row] = sampleE2cm().rows;
  expect(() => renderReport([{ ...plain(), rows: [{ ...row!, accuracy: null }] }])).toThrow(
    "rows.0.accuracy of result 1",
  );
});

test("writeReport writes the page, over an older one", async () => {
  const path = join(await temporaryFolder(), "report.html");
  await writeFile(path, "older");
  await writeReport([sampleStaged()], path);
  expect(await readFile(path, "utf8")).toBe(renderReport([sampleStaged()]));
});
