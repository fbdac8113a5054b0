import type { PictureSet } from "../directory.ts";
import { idxEdition, parseIdxFiles } from "../idx.ts";

/** MNIST, with the sums that several independent projects publish for its uncompressed files. */
export const mnist: PictureSet = {
  name: "mnist",
  editions: [
    idxEdition("MNIST", [
      "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
      "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
      "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
      "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]),
  ],
  folders: ["MNIST/raw"],
  classNames: Array.from("0123456789"),
  normalisation: { mean: [0.1307], deviation: [0.3081] },
  augmentation: { padding: 2, mirror: false },
  parse: parseIdxFiles,
  fix: "Put MNIST's four files into <folder>/mnist and pass the folder with --data.",
};
