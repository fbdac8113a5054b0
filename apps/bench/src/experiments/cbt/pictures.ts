import type { Tensor } from "@exitkit/core-gpu";
import sharp from "sharp";

/** A frame as a JPEG data URI. */
export async function frameUri(colours: Tensor<"uint8">): Promise<string> {
  const [height, width] = colours.shape as [number, number];
  const bytes = await sharp(colours.data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 80 })
    .toBuffer();
  return `data:image/jpeg;base64,${bytes.toString("base64")}`;
}

/** Ids [h, w] in their colours as a PNG data URI, each `scale` pixels wide; ids without a colour are black. */
export async function idsUri(
  ids: Uint8Array,
  [height, width]: readonly [number, number],
  colours: readonly (readonly [number, number, number])[],
  scale = 1,
): Promise<string> {
  const pixels = new Uint8Array(height * width * 3);
  ids.forEach((id, at) => {
    pixels.set(colours[id] ?? [0, 0, 0], 3 * at);
  });
  const bytes = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize(width * scale, height * scale, { kernel: "nearest" })
    .png({ palette: true })
    .toBuffer();
  return `data:image/png;base64,${bytes.toString("base64")}`;
}

/** From the first exit, light, to the full network, dark. */
export const STOPPED_COLOURS = [
  [222, 235, 247],
  [158, 202, 225],
  [66, 146, 198],
  [8, 69, 148],
] as const;
