import { describe, expect, it } from "vitest";
import { placeName } from "../src/report/labels.ts";

const FRAME = { left: 40, right: 400, top: 20, bottom: 300 };
const NAME = "at most 1.0 point";

/** Whether a line of points comes into the room of the name. */
function crosses({ x, y }: { readonly x: number; readonly y: number }, line: readonly (readonly [number, number])[]) {
  return line.some(([a, b]) => a > x && a < x + NAME.length * 7 && Math.abs(b - y) < 8);
}

describe("the name of a point", () => {
  const steep = Array.from({ length: 200 }, (_, i) => [220 + i / 2, 290 - 1.3 * i] as const);

  it.each([
    ["in the middle", [220, 120]],
    ["at the right edge", [392, 120]],
    ["in the corner", [392, 294]],
  ] as const)("%s stands within the frame", (_, point) => {
    const { x, y } = placeName(NAME, point, FRAME, [], []);
    expect(x).toBeGreaterThanOrEqual(FRAME.left);
    expect(x + NAME.length * 7.7).toBeLessThanOrEqual(FRAME.right);
    expect(y).toBeLessThan(FRAME.bottom);
    expect(y).toBeGreaterThan(FRAME.top);
  });

  it("keeps off a curve that runs where it would stand", () => {
    expect(crosses(placeName(NAME, [220, 120], FRAME, [], []), steep)).toBe(true);
    expect(crosses(placeName(NAME, [220, 120], FRAME, [steep], []), steep)).toBe(false);
  });

  it("keeps off a name that stands there already", () => {
    const first = placeName(NAME, [220, 120], FRAME, [], []);
    const second = placeName(NAME, [220, 120], FRAME, [], [first]);
    expect(Math.abs(second.x - first.x) >= 100 || Math.abs(second.y - first.y) >= 18).toBe(true);
  });
});
