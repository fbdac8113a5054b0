import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { unpackDeb } from "../deb.ts";
import type { PictureSet } from "../directory.ts";
import { fromWeb } from "../download.ts";
import { type Unpacked, unpackTar } from "../fetch.ts";
import { idxEdition, parseIdxFiles } from "../idx.ts";

const PACKAGE = "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb";

/**
 * Fashion-MNIST. The sums are of the files in Debian's package dataset-fashion-mnist; with the name and the time put back into
 * their gzip headers (1,504,176,606 s for the training files, 1,504,176,627 s for the others) they have the md5 sums that the
 * data set's own README publishes. The package is the same in every Debian release since 11; its sum is the one of Debian's index.
 */
export const fashionMnist: PictureSet = {
  name: "fashion-mnist",
  editions: [
    idxEdition("Fashion-MNIST", [
      "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
      "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
      "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
      "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ]),
  ],
  folders: ["fashion", "FashionMNIST/raw"],
  classNames: "T-shirt/top,trouser,pullover,dress,coat,sandal,shirt,sneaker,bag,ankle boot".split(","),
  normalisation: { mean: [0.286], deviation: [0.353] },
  // Clothes may be mirrored.
  augmentation: { padding: 2, mirror: true },
  parse: parseIdxFiles,
  fix: "Bring it with: bench data fashion-mnist --data <folder>",
  origin: {
    about: "all 70,000 pictures of Fashion-MNIST, from Debian's package; needs neither apt nor root",
    sources: ["https://deb.debian.org/debian", "https://ftp.debian.org/debian"].map((mirror) =>
      fromWeb({
        url: `${mirror}/pool/main/d/dataset-fashion-mnist/${PACKAGE}`,
        sum: ["sha256", "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"],
        size: 30_900_652,
        timeout: 15_000,
      }),
    ),
    archive: PACKAGE,
    unpack,
    fix: "Connect to the internet, or download Debian's package dataset-fashion-mnist elsewhere and pass it with --archive.",
  },
};

/** The package has them as ./usr/share/datasets/fashion-mnist/<name>.gz. */
async function unpack(archive: string, folder: string, wanted: readonly string[]): Promise<Unpacked> {
  const tar = join(folder, "data.tar");
  await unpackDeb(archive, tar);
  const packed = wanted.map((name) => `${name}.gz`);
  const members = await unpackTar(tar, folder, packed, 5);
  return async (name) => {
    const path = members.get(`${name}.gz`);
    if (path === undefined) throw new Error(`no ${name}.gz in it`);
    return { stored: await readFile(path), gzip: true };
  };
}
