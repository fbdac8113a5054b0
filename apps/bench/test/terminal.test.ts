import { describe, expect, it, vi } from "vitest";
import { openTerminal } from "../src/terminal/log.ts";
import { createProgress } from "../src/terminal/progress.ts";
import { memory } from "./helpers.ts";

describe("progress", () => {
  it("prints a plain line every five seconds and one at the end", () => {
    let now = 0;
    const stream = memory();
    const stage = createProgress(stream, () => now).stage("features", 600, "pictures");
    for (let second = 1; second <= 12; second++) {
      now = second * 1000;
      stage.advance(50);
    }
    stage.done();
    stage.done();
    expect(stream.text().trimEnd().split("\n")).toEqual([
      "features: 250/600 pictures, 50/s, 7 s left",
      "features: 500/600 pictures, 50/s, 2 s left",
      "features: 600/600 pictures, 50/s",
    ]);
  });

  it("draws one line over and over on a terminal, never longer than it, and leaves it as it was", () => {
    let now = 0;
    const stream = { ...memory(true), columns: 60 };
    const progress = createProgress(stream, () => now);
    const stage = progress.stage("features", 600, "pictures");
    for (let at = 1; at <= 12; at++) {
      now = at * 60;
      stage.advance(50);
    }
    stage.done();
    stage.done();
    progress.note("a note");
    const text = stream.text();
    expect(text.endsWith("\na note\n")).toBe(true);
    const drawn = text.replace("\na note\n", "").split("\r\u001b[2K").slice(1);
    expect(drawn.every((line) => line.length < 60)).toBe(true);
    expect(drawn[0]).toContain(`features ${"░".repeat(24)} 0/600`);
    expect(drawn.at(-1)).toContain(`features ${"█".repeat(24)} 600/600`);
    // Not at every step: at the beginning, every tenth of a second, at the end.
    expect(drawn.length).toBe(8);
    // Neither a hidden cursor nor wrapping switched off.
    expect(text).not.toContain("\u001b[?");
  });

  it("shows a wide table in parts that fit, each with the first column", () => {
    const [stdout, stderr] = [memory(), memory()];
    const head = ["network", ...Array.from({ length: 9 }, (_, at) => `a long heading ${at}`)];
    openTerminal(stdout, stderr, false).table({ head, body: [head.map((_, at) => String(at))] });
    const lines = stdout.text().trimEnd().split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(lines.filter((line) => line.includes("network")).length).toBe(3);
    for (const name of head) expect(stdout.text()).toContain(name);
  });

  it("wraps the words of a column that is too wide by itself", () => {
    const stdout = memory();
    const words = Array.from({ length: 30 }, (_, at) => `word${at}`);
    openTerminal(stdout, memory(), false).table({ head: ["name", "title"], body: [["one", words.join(" ")]] });
    const lines = stdout.text().trimEnd().split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    for (const word of words) expect(stdout.text()).toContain(word);
  });

  it("wraps lines, and colours only where a terminal may be coloured", () => {
    const shown = (isTTY: boolean, noColour: string) => {
      vi.stubEnv("NO_COLOR", noColour);
      vi.stubEnv("TERM", "xterm");
      const [stdout, stderr] = [memory(isTTY), memory(isTTY)];
      const terminal = openTerminal(stdout, stderr, false);
      terminal.line(Array.from({ length: 40 }, () => "word").join(" "));
      terminal.table({ head: ["a"], body: [[{ text: "yes", tone: "right" }]] });
      terminal.link("/tmp/a b.html");
      terminal.error(new Error("no"));
      vi.unstubAllEnvs();
      return stdout.text() + stderr.text();
    };
    const plain = shown(false, "");
    expect(plain).not.toContain("\u001b");
    expect(Math.max(...plain.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(plain).toContain("\nreport: file:///tmp/a%20b.html\n");
    expect(shown(true, "1")).toBe(plain);
    for (const painted of ["\u001b[1ma\u001b", "\u001b[32myes\u001b", "\u001b[31merror:\u001b"]) {
      expect(shown(true, "")).toContain(painted);
    }
  });

  it("keeps notes", () => {
    const stream = memory();
    createProgress(stream).note("data: CIFAR-10");
    expect(stream.text()).toBe("data: CIFAR-10\n");
  });
});

describe("terminal", () => {
  it("prints nothing but one JSON line with --json", () => {
    const [stdout, stderr] = [memory(), memory(true)];
    const terminal = openTerminal(stdout, stderr, true);
    terminal.line("text");
    terminal.table({ head: ["a"], body: [["b"]] });
    terminal.progress.note("note");
    const stage = terminal.progress.stage("s", 1, "u");
    stage.advance(1);
    stage.done();
    terminal.result({ a: [1] });
    expect([stdout.text(), stderr.text()]).toEqual(['{"a":[1]}\n', ""]);
  });

  it("prints tables with numbers to the right, and errors as one line", () => {
    const [stdout, stderr] = [memory(), memory()];
    const terminal = openTerminal(stdout, stderr, false);
    terminal.table({
      head: ["name", "ms"],
      body: [
        ["one", "5"],
        ["two", "1234"],
      ],
    });
    terminal.result({ hidden: true });
    terminal.error(new Error("first\n  second"));
    expect(stdout.text()).toMatch(/│ one {2}│ {4}5 │/);
    expect(stdout.text()).not.toContain("hidden");
    expect(stderr.text()).toBe("error: first second\n");
  });
});
