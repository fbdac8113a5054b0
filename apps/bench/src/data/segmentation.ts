import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { InputError, type Tensor, tensor } from "@exitkit/core-gpu";
import sharp, { type Sharp } from "sharp";

/** A frame and its labels as files. */
export interface FramePair {
  /** e.g. "0001TP/0001TP_008550". */
  readonly name: string;
  /** The folder inside the split: a city or a sequence. */
  readonly sequence: string;
  readonly image: string;
  readonly labels: string;
}

/** What the ids in label files mean. */
export interface LabelScheme {
  readonly classNames: readonly string[];
  /** [classes] of [red, green, blue], for pictures. */
  readonly colours: readonly (readonly [number, number, number])[];
  /** Class of every id that may occur in a file, or the ignore label. */
  readonly classOf: ReadonlyMap<number, number>;
  readonly ignore: number;
}

/** How 8-bit colours become network inputs: channels in this order, each (value − mean) ÷ deviation. */
export interface FrameNormalisation {
  readonly channels: "rgb" | "bgr";
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/**
 * Pairs of a Cityscapes-like folder: `leftImg8bit/SPLIT/SEQUENCE/NAME_leftImg8bit.(png|jpg)` and
 * `gtFine/SPLIT/SEQUENCE/NAME_gtFine_labelIds.png`, in order of their names.
 *
 * @throws InputError on a missing folder, no frames, or a frame without labels.
 */
export async function findFrames(directory: string, split: string): Promise<readonly FramePair[]> {
  const caller = "bench.findFrames";
  const images = join(directory, "leftImg8bit", split);
  const sequences = await readdir(images).catch((error: NodeJS.ErrnoException) => {
    const fix = "Name the data set's folder, with leftImg8bit and gtFine in it.";
    throw new InputError(caller, `${images} must be a folder`, `${error.code}`, fix, error);
  });
  const pairs: FramePair[] = [];
  for (const sequence of sequences.sort()) {
    const labels = join(directory, "gtFine", split, sequence);
    const labelled = new Set(await readdir(labels).catch(() => []));
    for (const file of (await readdir(join(images, sequence))).sort()) {
      const name = /^(.*)_leftImg8bit\.(png|jpe?g)$/.exec(file)?.[1];
      if (name === undefined) continue;
      const own = `${name}_gtFine_labelIds.png`;
      if (!labelled.has(own)) {
        throw new InputError(caller, `${join(images, sequence, file)} must have labels`, `no ${join(labels, own)}`);
      }
      pairs.push({
        name: `${sequence}/${name}`,
        sequence,
        image: join(images, sequence, file),
        labels: join(labels, own),
      });
    }
  }
  if (pairs.length === 0)
    throw new InputError(caller, `${images} must hold frames NAME_leftImg8bit.png or .jpg`, "none");
  return pairs;
}

/**
 * A frame's colours, uint8 [h, w, 3] in RGB, as they are in the file.
 *
 * @throws InputError on a file that is missing, truncated, no picture, of more than 8 bits or without three colours.
 */
export async function readColours(path: string): Promise<Tensor<"uint8">> {
  const caller = "bench.readColours";
  const { picture, metadata } = await opened(caller, path);
  if (metadata.depth !== "uchar" || (metadata.bitsPerSample !== undefined && metadata.bitsPerSample > 8)) {
    throw new InputError(caller, `${path} must have 8 bits a channel`, `${metadata.depth}`, "Convert it first.");
  }
  if (metadata.isPalette !== true && metadata.channels < 3) {
    throw new InputError(caller, `${path} must be a colour picture`, `${metadata.channels} channels`);
  }
  const { data, info } = await decoded(caller, path, () => picture.removeAlpha().toColourspace("srgb").raw());
  return tensor("uint8", [info.height, info.width, 3], new Uint8Array(data));
}

/**
 * The ids of a label file as classes, uint8 [h, w].
 *
 * @throws InputError on a file that is missing, truncated or no 8-bit grey picture (palettes, 16 bits and colours are refused: their
 * values would be others), or an id the scheme does not have, naming file, value and place.
 */
export async function readLabels(path: string, scheme: LabelScheme): Promise<Tensor<"uint8">> {
  const caller = "bench.readLabels";
  const { picture, metadata } = await opened(caller, path);
  const kind = [
    metadata.isPalette === true ? "a palette" : `${metadata.channels} channels`,
    metadata.depth === "uchar" ? "8 bits" : metadata.depth,
  ].join(", ");
  if (
    metadata.isPalette === true ||
    metadata.channels !== 1 ||
    metadata.depth !== "uchar" ||
    metadata.format !== "png"
  ) {
    const fix = "Save the ids themselves as a grey PNG of 8 bits.";
    throw new InputError(
      caller,
      `${path} must be a grey PNG of 8 bits, one channel`,
      `${metadata.format}: ${kind}`,
      fix,
    );
  }
  const { data, info } = await decoded(caller, path, () => picture.toColourspace("b-w").raw());
  const classes = new Uint8Array(info.width * info.height);
  for (let at = 0; at < classes.length; at++) {
    const id = data[at]!;
    const label = scheme.classOf.get(id);
    if (label === undefined) {
      const place = `row ${Math.floor(at / info.width)}, column ${at % info.width}`;
      const known = [...scheme.classOf.keys()];
      const expectation = `${path} must hold the ids ${Math.min(...known)} to ${Math.max(...known)} of its data set`;
      throw new InputError(caller, expectation, `${id} at ${place}`);
    }
    classes[at] = label;
  }
  return tensor("uint8", [info.height, info.width], classes);
}

async function opened(caller: string, path: string) {
  // Without any change of colours: a label's value is its meaning.
  const picture = sharp(path, { failOn: "warning", ignoreIcc: true });
  try {
    return { picture, metadata: await picture.metadata() };
  } catch (error) {
    throw new InputError(
      caller,
      `${path} must be a picture that can be read`,
      (error as Error).message,
      undefined,
      error,
    );
  }
}

async function decoded(caller: string, path: string, raw: () => Sharp) {
  try {
    return await raw().toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw new InputError(caller, `${path} must be a whole picture`, (error as Error).message, "Fetch it again.", error);
  }
}

/** Colours [h, w, 3] as a network's input, float32 [1, 3, h, w]. */
export function normalisedFrame(
  colours: Tensor<"uint8">,
  { channels, mean, deviation }: FrameNormalisation,
): Tensor<"float32"> {
  const [h, w] = colours.shape as [number, number, number];
  const x = tensor("float32", [1, 3, h, w]);
  for (let c = 0; c < 3; c++) {
    const from = channels === "rgb" ? c : 2 - c;
    for (let at = 0; at < h * w; at++)
      x.data[c * h * w + at] = (colours.data[3 * at + from]! - mean[c]!) / deviation[c]!;
  }
  return x;
}

/** A frame with its labels, ready for a network. */
export interface ReadFrame {
  readonly pair: FramePair;
  readonly colours: Tensor<"uint8">;
  /** float32 [1, 3, h, w]. */
  readonly x: Tensor<"float32">;
  /** uint8 [1, h, w]. */
  readonly labels: Tensor<"uint8">;
  readonly source: string;
}

/** What becomes of frames of another size: they are refused, or stretched (colours linearly, labels to the nearest). */
type FrameResizing = "refused" | "stretched";

/**
 * Reads pairs one after another.
 *
 * @param resizing Of frames that are not of `size`. Default: they are refused.
 * @throws InputError where a frame and its labels differ in size, or are refused, naming the file.
 */
export async function* readFrames(
  pairs: readonly FramePair[],
  scheme: LabelScheme,
  normalisation: FrameNormalisation,
  size: readonly [number, number],
  resizing: FrameResizing = "refused",
): AsyncGenerator<ReadFrame> {
  const caller = "bench.readFrames";
  for (const pair of pairs) {
    let colours = await readColours(pair.image);
    let labels = await readLabels(pair.labels, scheme);
    if (resizing === "stretched" && colours.shape.slice(0, 2).join() === labels.shape.join()) {
      colours = await stretched(colours, size, 3);
      labels = await stretched(labels, size, 1);
    }
    for (const [path, shape] of [
      [pair.image, colours.shape],
      [pair.labels, labels.shape],
    ] as const) {
      if (shape[0] === size[0] && shape[1] === size[1]) continue;
      throw new InputError(caller, `${path} must be ${size[1]} × ${size[0]} pixels`, `${shape[1]} × ${shape[0]}`);
    }
    const x = normalisedFrame(colours, normalisation);
    yield { pair, colours, x, labels: { ...labels, shape: [1, ...size] }, source: basename(pair.labels) };
  }
}

async function stretched(
  { shape, data }: Tensor<"uint8">,
  [height, width]: readonly [number, number],
  channels: 1 | 3,
): Promise<Tensor<"uint8">> {
  const [h, w] = shape as [number, number];
  if (h === height && w === width) return { dtype: "uint8", shape, data };
  const picture = sharp(data, { raw: { width: w, height: h, channels } });
  const made = await picture
    .resize(width, height, { fit: "fill", kernel: channels === 1 ? "nearest" : "linear" })
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .raw()
    .toBuffer();
  return tensor("uint8", channels === 1 ? [height, width] : [height, width, 3], new Uint8Array(made));
}

/** CamVid's eleven classes in SegNet's version; 11 is unlabelled. */
export const CAMVID: LabelScheme = {
  classNames: [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
  ],
  colours: [
    [128, 128, 128],
    [128, 0, 0],
    [192, 192, 128],
    [128, 64, 128],
    [60, 40, 222],
    [128, 128, 0],
    [192, 128, 128],
    [64, 64, 128],
    [64, 0, 128],
    [64, 64, 0],
    [0, 128, 192],
  ],
  classOf: new Map([...Array.from({ length: 11 }, (_, id) => [id, id] as const), [11, 255]]),
  ignore: 255,
};

/** Cityscapes' labelIds to its 19 training classes; the others are ignored. */
export const CITYSCAPES: LabelScheme = {
  classNames: [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
  ],
  colours: [
    [128, 64, 128],
    [244, 35, 232],
    [70, 70, 70],
    [102, 102, 156],
    [190, 153, 153],
    [153, 153, 153],
    [250, 170, 30],
    [220, 220, 0],
    [107, 142, 35],
    [152, 251, 152],
    [70, 130, 180],
    [220, 20, 60],
    [255, 0, 0],
    [0, 0, 142],
    [0, 0, 70],
    [0, 60, 100],
    [0, 80, 100],
    [0, 0, 230],
    [119, 11, 32],
  ],
  classOf: new Map(
    Array.from({ length: 34 }, (_, id) => {
      const trained = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33].indexOf(id);
      return [id, trained < 0 ? 255 : trained] as const;
    }),
  ),
  ignore: 255,
};
