import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError } from "@exitkit/core-gpu";
import type { FramePair, LabelScheme } from "./segmentation.ts";

/**
 * Pairs of ADE20K's folder of the scene parsing benchmark: `images/SPLIT/NAME.jpg` and `annotations/SPLIT/NAME.png`, in order of their
 * names; SPLIT is "training" or "validation".
 *
 * @throws InputError on a missing folder, no frames, or a frame without labels.
 */
export async function findAde20k(directory: string, split: string): Promise<readonly FramePair[]> {
  const caller = "bench.findAde20k";
  const [images, annotations] = [join(directory, "images", split), join(directory, "annotations", split)];
  const listed = async (folder: string) =>
    readdir(folder).catch((error: NodeJS.ErrnoException) => {
      const fix = "Name the data set's folder, ADEChallengeData2016, with images and annotations in it.";
      throw new InputError(caller, `${folder} must be a folder`, `${error.code}`, fix, error);
    });
  const labelled = new Set(await listed(annotations));
  const pairs: FramePair[] = [];
  for (const file of (await listed(images)).sort()) {
    const name = /^(.+)\.(jpe?g|png)$/.exec(file)?.[1];
    if (name === undefined) continue;
    const own = `${name}.png`;
    if (!labelled.has(own)) {
      throw new InputError(caller, `${join(images, file)} must have labels`, `no ${join(annotations, own)}`);
    }
    pairs.push({ name, sequence: split, image: join(images, file), labels: join(annotations, own) });
  }
  if (pairs.length === 0) throw new InputError(caller, `${images} must hold frames NAME.jpg`, "none");
  return pairs;
}

/**
 * ADE20K's 150 classes from its `objectInfo150.txt` (columns Idx, Ratio, Train, Val, Name, by tabs); id 0 is "other", which is ignored, and
 * id i class i − 1. Colours go around the colour circle.
 *
 * @throws InputError on a missing file, or lines that are not classes 1 to k in order.
 */
export async function ade20kScheme(directory: string): Promise<LabelScheme> {
  const caller = "bench.ade20kScheme";
  const path = join(directory, "objectInfo150.txt");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new InputError(caller, `${path} must be a file`, `${error.code}`, "It comes with the data set.", error);
  });
  const [head, ...lines] = text.trimEnd().split(/\r?\n/);
  const column = (head ?? "").split("\t").indexOf("Name");
  if (column < 0) throw new InputError(caller, `${path} must have a column Name`, JSON.stringify(head ?? ""));
  const classNames = lines.map((line, index) => {
    const fields = line.split("\t");
    const name = fields[column]?.split(",")[0]?.trim();
    if (Number(fields[0]) === index + 1 && name) return name;
    throw new InputError(caller, `line ${index + 2} of ${path} must be class ${index + 1}`, JSON.stringify(line));
  });
  const colours = classNames.map((_, c) => {
    const turn = (2 * Math.PI * c) / classNames.length;
    const part = (by: number) => Math.round(127.5 + 127.5 * Math.cos(turn + by));
    return [part(0), part(2.1), part(4.2)] as const;
  });
  const classOf = new Map([[0, 255], ...classNames.map((_, c) => [c + 1, c] as const)]);
  return { classNames, colours, classOf, ignore: 255 };
}
