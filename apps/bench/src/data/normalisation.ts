import { InputError } from "@exitkit/core-gpu";

/** How pixel values become network inputs: channel value / 255, minus the mean, divided by the deviation; one of each a channel. */
export interface Normalisation {
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
}

/** The normalisation of the bundled CIFAR-10 networks. */
export const NORMALISATION: Normalisation = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

/** Pixels from 0 to 255, as networks take them that were trained so. */
export const PIXELS: Normalisation = { mean: [0, 0, 0], deviation: [1 / 255, 1 / 255, 1 / 255] };

/**
 * Normalised value of every byte value in every channel: [c][256], every step rounded to float32 as PyTorch does.
 *
 * @throws InputError when there is not one mean and one deviation for each of the channels.
 */
export function lookup({ mean, deviation }: Normalisation, channels: number): readonly Float32Array[] {
  if (mean.length !== channels || deviation.length !== channels) {
    throw new InputError(
      "bench.normalisation",
      `pictures of ${channels} channels need ${channels} means and deviations`,
      `${mean.length} and ${deviation.length}`,
      "Pass the data set's own normalisation.",
    );
  }
  const { fround } = Math;
  return mean.map((_, channel) =>
    Float32Array.from({ length: 256 }, (_, value) => {
      const scaled = fround(value / 255);
      return fround(fround(scaled - fround(mean[channel]!)) / fround(deviation[channel]!));
    }),
  );
}
