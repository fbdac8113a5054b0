import type { Device } from "@exitkit/core-gpu";
import type { Pictures } from "../data/pictures.ts";
import type { Progress } from "../terminal/progress.ts";
import type { Backbone } from "../zoo/backbone.ts";
import { argMaxRows, countRight } from "./answers.ts";
import { counted } from "./counted.ts";

/** How many of the pictures the plain network answers rightly: what everything with exits is compared with. */
export async function plainRight(
  device: Device,
  { model, input, output, name }: Pick<Backbone, "model" | "input" | "output" | "name">,
  pictures: Pictures,
  classes: number,
  progress: Progress,
): Promise<number> {
  const session = await device.load(model);
  let right = 0;
  try {
    for await (const { x, y } of counted(progress, `${name}: plain network`, pictures)) {
      const scores = (await session.run({ [input]: x }))[output]!;
      right += countRight(argMaxRows(scores.data as Float32Array, classes), y);
    }
  } finally {
    await session.release();
  }
  return right;
}
