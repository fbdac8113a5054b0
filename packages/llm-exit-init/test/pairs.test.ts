import { describe, expect, it } from "vitest";
import { nextTokenPairs } from "../src/index.ts";

const listed = (...given: Parameters<typeof nextTokenPairs>) => {
  const { positions, next } = nextTokenPairs(...given);
  return [...positions].map((position, at) => [position, next[at]]);
};

describe("alignment with the next token", () => {
  it("three tokens are two pairs, the state before its token", () => {
    expect(listed([7, 8, 9], 3, { skip: 0 })).toEqual([
      [0, 8],
      [1, 9],
    ]);
  });

  it("does not reach from one window into the next", () => {
    expect(listed([1, 2, 3, 4, 5, 6], 3, { skip: 0 })).toEqual([
      [0, 2],
      [1, 3],
      [3, 5],
      [4, 6],
    ]);
  });

  it("leaves the first position of every window out, unless told", () => {
    expect(listed([1, 2, 3, 4, 5, 6], 3)).toEqual([
      [1, 3],
      [4, 6],
    ]);
    expect(listed([1, 2, 3, 4], 4, { skip: 2 })).toEqual([[2, 4]]);
    expect(listed([1, 2, 3, 4], 4, { skip: 9 })).toEqual([]);
  });

  it("does not let a document foretell the next one", () => {
    expect(listed([1, 5, 6, 1, 7], 5, { skip: 0, border: 1 })).toEqual([
      [0, 5],
      [1, 6],
      [3, 7],
    ]);
  });

  it("leaves padding out on either side", () => {
    expect(listed([0, 0, 3, 4, 5, 6, 7, 0], 4, { skip: 0, mask: [0, 0, 1, 1, 1, 1, 1, 0] })).toEqual([
      [2, 4],
      [4, 6],
      [5, 7],
    ]);
  });

  it("refuses options it does not know", () => {
    expect(() => nextTokenPairs([1, 2], 2, { skip: -1 })).toThrow(/nextTokenPairs: .*"skip"/);
    expect(() => nextTokenPairs([1, 2], 2, { shift: 0 } as never)).toThrow(/unknown option "shift"/);
  });
});
