import { describe, expect, it } from "vitest";
import { HRNET, hrnetMacs, hrnetProgram } from "../src/zoo/hrnet.ts";

describe("HRNetV2 with exits and redesigned heads", () => {
  it.each<[keyof typeof HRNET, readonly number[]]>([
    // EE+RH in ADP-C's table; "GFLOPs" there are MACs ÷ 1024³ of a frame of Cityscapes.
    ["w48", [41.9, 105.6, 368.0, 701.3]],
    // CBT's table: nothing is masked before the first exit.
    ["w18Small", [23.7]],
  ])("%s: MACs up to each exit are the published ones", (name, published) => {
    const macs = hrnetMacs(HRNET[name], [1024, 2048]);
    expect(macs).toHaveLength(4);
    published.forEach((gigas, exit) => {
      // Printed to one place, cut or rounded.
      expect(Math.abs(macs[exit]! / 1024 ** 3 - gigas), `exit ${exit + 1}`).toBeLessThan(0.06);
    });
  });

  it.each(["w48", "w18Small"] as const)("%s is a program: logits of four exits at a quarter of the frame", (name) => {
    const { inputs, outputs } = hrnetProgram(HRNET[name], [256, 512]);
    expect(outputs.map(({ name: output, spec }) => [output, spec.shape])).toEqual(
      [0, 1, 2, 3].map((exit) => [`logits.${exit}`, [1, 19, 64, 128]]),
    );
    const widths = [1, 2, 4, 8].map((factor) => factor * HRNET[name].width);
    const weight = (path: string) =>
      inputs.find((input) => input.name === `weights.${path.replaceAll(".", "/")}`)?.spec.shape;
    expect(weight("exit4.0")).toEqual([15 * widths[0]!, 15 * widths[0]!, 1, 1]);
    expect(weight("stage4.0.branches.3.0.conv1")).toEqual([widths[3], widths[3], 3, 3]);
    expect(weight("exit1.down.0")).toEqual([HRNET[name].headWidth, 256, 1, 1]);
  });
});
