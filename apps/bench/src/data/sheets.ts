import { PNG } from "pngjs";
import { PICTURE_BYTES } from "./cifar.ts";

/**
 * Turns a lossless PNG sheet (1024 pixels wide, one picture a row, its pixels row by row) and the labels into records of the
 * CIFAR-10 binary version.
 *
 * @param labels List of labels 0 to 9, of which those from `first` on belong to the sheet.
 * @returns [rows × 3,073] bytes.
 */
export function recordsFromSheet(png: Uint8Array, labels: unknown, first: number): Uint8Array {
  const list = checkedLabels(labels);
  // What a few thousand bytes say they are would be made before it is seen that they are not.
  const said = saidSize(png);
  if (said.width !== 1024) throw new Error(`the sheet must be 1024 pixels wide; got ${said.width}`);
  if (list.length < first + said.height) {
    throw new Error(`${first + said.height} labels are needed; got ${list.length}`);
  }
  const sheet = decoded(png);
  const records = new Uint8Array(sheet.height * (1 + PICTURE_BYTES));
  for (let row = 0, to = 0; row < sheet.height; row++) {
    records[to++] = list[first + row]!;
    for (let channel = 0; channel < 3; channel++) {
      for (let at = row * 4096 + channel; at < (row + 1) * 4096; at += 4) records[to++] = sheet.data[at]!;
    }
  }
  return records;
}

/** The library dies of some broken files in its own words. */
function decoded(png: Uint8Array): PNG {
  try {
    return PNG.sync.read(Buffer.from(png.buffer, png.byteOffset, png.byteLength));
  } catch (cause) {
    throw new Error(`the sheet is no whole PNG (${(cause as Error).message})`, { cause });
  }
}

/** Width and height as the header of a PNG says them, its first chunk. */
function saidSize(png: Uint8Array): { readonly width: number; readonly height: number } {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  if (png.byteLength < 24 || view.getUint32(0) !== 0x89504e47 || view.getUint32(12) !== 0x49484452)
    throw new Error("the sheet must be a PNG");
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

function checkedLabels(labels: unknown): readonly number[] {
  if (!Array.isArray(labels)) throw new Error("the labels must be a list");
  const wrong = labels.findIndex((label) => !Number.isInteger(label) || label < 0 || label > 9);
  if (wrong >= 0) throw new Error(`every label must be 0 to 9; got ${JSON.stringify(labels[wrong])} at ${wrong}`);
  return labels;
}
