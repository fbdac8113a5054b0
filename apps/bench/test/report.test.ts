import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { renderReport, writeReport } from "../src/commands/report.ts";
import { temporaryFolder } from "./helpers.ts";
import { elementsOf } from "./report-markup.ts";
import { sampleE2cm, sampleStaged } from "./report-samples.ts";

const SECTIONS = "frontier promise shares speed depth confusion examples others fitting measured".split(" ");

const bare = (experiment: string) => ({ experiment, preset: "quick", seed: 3, device: "cpu" });

/** A result with one backbone and thresholds chosen in one way. */
function small() {
  const result = sampleE2cm();
  const only = <T extends { readonly backbone: string }>(rows: readonly T[]) =>
    rows.filter(({ backbone }) => backbone === "resnet20");
  return {
    ...result,
    perExit: only(result.perExit),
    confusion: result.confusion.slice(0, 2),
    rows: only(result.rows).filter(({ choice }) => choice === "guarded"),
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
  const sample = plain();
  const timed = (changed: Partial<(typeof sample.wall)[number]>) =>
    renderReport([{ ...sample, wall: sample.wall.map((row) => ({ ...row, ...changed })) }]);

  test("says what is gained and lost, all of it on the pictures that were timed", () => {
    const page = timed({}).replaceAll("\u00a0", " ");
    const row = sample.wall.find(({ backbone, batch }) => backbone === "resnet56" && batch === 64)!;
    const time = Math.round((1 - row.wallFraction) * 100);
    expect(headlineOf(page)).toBe(
      `27 % fewer multiply-accumulates, ${time} % less time, 0.3 points of accuracy lost: ResNet-56 on CIFAR-10, stopping early.`,
    );
    expect(page).toContain("the same 4,992 test pictures");
    // (35 − 20) / 4992 ± 1.96 √(((35 + 20) / 4992 − (15 / 4992)²) / 4992)
    expect(page).toContain("The loss is 0.3 points ± 0.3 points (95 % interval");
    expect(page).toContain("Goal met");
  });

  test("says so when more was lost than was asked for, or no time is won", () => {
    const lost = timed({ accuracy: 0.9187 });
    expect(headlineOf(lost)).toContain("2.5 points of accuracy lost");
    expect(lost).toContain("Goal not met");
    const slow = timed({ wallFraction: 1.042 });
    expect(headlineOf(slow)).toContain("27 % fewer multiply-accumulates, 4 % more time, ");
    expect(slow).toContain("Goal not met");
  });

  test("a gain is called a gain", () => {
    expect(headlineOf(timed({ accuracy: 0.9467 }))).toContain("0.3 points of accuracy gained");
  });

  test("does without times", () => {
    expect(headlineOf(renderReport([{ ...sample, wall: [] }]))).toBe(
      "ResNet-56 answers 94.4 % of the CIFAR-10 test pictures right; what its exits save was not measured in this run.",
    );
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
    for (const id of SECTIONS.filter((id) => id !== "measured" && id !== "fitting")) {
      expect(section(page, id), id).toContain("Not measured in this run.");
    }
    expect(section(page, "measured")).toContain("Not recorded in this run.");
  });

  test("experiments that were not run take one line, with a command that works", () => {
    const page = renderReport([sampleStaged()]);
    const [line] = /<p class="missing">.*<\/p>/.exec(page)!;
    expect(line).toContain("e2cm-cifar10");
    expect(line).toMatch(/npm run -s bench -- run [\w-]+<\/code><\/p>$/);
    expect(page.match(/class="missing"/g)).toHaveLength(1);
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
      "halvings",
      "wall",
      "fit",
      "overhead",
      "examples",
      "data",
      "weights",
      "classNames",
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
        halvings: result.halvings.slice(0, 1),
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
      Object.entries(value).map(([key, inner]) => [
        key,
        key === "experiment" || key === "choice" ? inner : spoil(inner),
      ]),
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
