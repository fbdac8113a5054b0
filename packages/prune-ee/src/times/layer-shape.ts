import { checkArguments } from "@exitkit/core-gpu";

/** What decides how long a layer with weights takes: everything but its numbers. */
export interface LayerShape {
  /** `linear`: a fully connected layer or matrix product with constant weights. */
  readonly kind: "conv" | "depthwise" | "linear";
  /** On each spatial axis; empty for linear layers. */
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** Places of the input on each spatial axis; of a linear layer its rows a sample. */
  readonly size: readonly number[];
  /** Channels or features that it reads and gives. */
  readonly in: number;
  readonly out: number;
}

/** All of a shape but its widths. */
export type LayerPlace = Omit<LayerShape, "in" | "out">;

/** A place in words, which is the same for the same place: "conv 3×3 / 2×2 at 32×32". @throws InputError on what is no place. */
export function placeName(place: LayerPlace): string {
  checkArguments("prune-ee.placeName", {
    place: [place, { kind: "a string", kernel: "a list", stride: "a list", size: "a list" }],
  });
  const { kind, kernel, stride, size } = place;
  if (kind === "linear") return `linear, ${size.join("×")} rows`;
  const steps = stride.every((step) => step === 1) ? "" : ` / ${stride.join("×")}`;
  return `${kind} ${kernel.join("×")}${steps} at ${size.join("×")}`;
}
