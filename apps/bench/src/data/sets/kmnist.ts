import type { PictureSet } from "../directory.ts";
import { idxEdition, parseIdxFiles } from "../idx.ts";

/** KMNIST (Kuzushiji-MNIST), with the sums that torchvision publishes for its gzip files. */
export const kmnist: PictureSet = {
  name: "kmnist",
  editions: [
    idxEdition("KMNIST", [
      { gzip: "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4" },
      { gzip: "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17" },
      { gzip: "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5" },
      { gzip: "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c" },
    ]),
  ],
  folders: ["KMNIST/raw"],
  // The hiragana of each class.
  classNames: "o ki su tsu na ha ma ya re wo".split(" "),
  normalisation: { mean: [0.1918], deviation: [0.3483] },
  augmentation: { padding: 2, mirror: false },
  parse: parseIdxFiles,
  fix: "Put KMNIST's four .gz files (http://codh.rois.ac.jp/kmnist/) into <folder>/kmnist and pass it with --data.",
};
