// How the API documentation is cut into parts: scripts/typedoc-plugin.mjs.
import { Comment, CommentTag } from "typedoc";
import { expect, test } from "vitest";
import { roomOf, splitNotes } from "../scripts/typedoc-plugin.mjs";

const text = (words: string) => ({ kind: "text" as const, text: words });
const code = (words: string) => ({ kind: "code" as const, text: words });
const parts = (comment: Comment) =>
  [["summary", comment.summary] as const, ...comment.blockTags.map(({ tag, content }) => [tag, content] as const)].map(
    ([name, content]) => `${name}: ${content.map((part) => part.text).join("")}`,
  );

test("notes are parts of their own, wherever a docstring has them", () => {
  const throws = new CommentTag("@throws", [
    text("InputError on "),
    code("`x`"),
    text(" without rows.\nSource: the paper, step "),
    code("`3`"),
    text(" [S]. Differs: the sum.\nNot the mean."),
  ]);
  const comment = new Comment([text("Adds. Source: is no note here.")], [throws]);
  splitNotes(comment);
  expect(parts(comment)).toEqual([
    "summary: Adds. Source: is no note here.",
    "@throws: InputError on `x` without rows.",
    "@source: the paper, step `3` [S]. ",
    "@differs: the sum.\nNot the mean.",
  ]);
  const summary = new Comment([text("Adds.\n\nDiffers: it subtracts.")]);
  splitNotes(summary);
  expect(parts(summary)).toEqual(["summary: Adds.", "@differs: it subtracts."]);
});

test("a docstring without notes stays as it is", () => {
  const comment = new Comment([text("Adds.")], [new CommentTag("@throws", [text("Nothing.")])]);
  splitNotes(comment);
  expect(parts(comment)).toEqual(["summary: Adds.", "@throws: Nothing."]);
});

test("a room is the folder of a file", () => {
  expect(roomOf("/packages/eeprune/src/while-training/draw-epoch.ts")).toBe("While training");
  expect(roomOf("/packages/e2cm/src/classifier.ts")).toBe("General");
});
