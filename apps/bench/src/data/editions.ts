/** One way a data set can lie in a folder: file names, and where known the sha256 of their uncompressed bytes. */
export interface Edition {
  readonly name: string;
  readonly complete: boolean;
  readonly train: readonly ExpectedFile[];
  readonly test: readonly ExpectedFile[];
}

/** A file of an edition. */
export interface ExpectedFile {
  readonly name: string;
  /** Of the uncompressed bytes; null where no official sum is known. */
  readonly sha256: string | null;
  /** Of the official gzip file, where only that is known: checked when the file is stored so. */
  readonly gzip?: string;
}

/** The six official files of CIFAR-10's binary version. */
export const CIFAR10_OFFICIAL: Edition = {
  name: "CIFAR-10",
  complete: true,
  train: [
    { name: "data_batch_1.bin", sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5" },
    { name: "data_batch_2.bin", sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed" },
    { name: "data_batch_3.bin", sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67" },
    { name: "data_batch_4.bin", sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48" },
    { name: "data_batch_5.bin", sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add" },
  ],
  test: [{ name: "test_batch.bin", sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b" }],
};

/** The part of CIFAR-10 that comes with the repository. */
export const CIFAR10_SUBSET: Edition = {
  name: "CIFAR-10 subset",
  complete: false,
  train: [{ name: "train_5000.bin", sha256: "25c919756e77f926c2ce5d52f3af2a33de8d75ff7868e4fcd0fa499745217b8d" }],
  test: [{ name: "test_2500.bin", sha256: "3b39f4f45fd9af042d41e1e1d7abb42a145ec6a4eb67b4231d46881110107df5" }],
};

/** The two official files of CIFAR-100's binary version. */
export const CIFAR100_OFFICIAL: Edition = {
  name: "CIFAR-100",
  complete: true,
  train: [{ name: "train.bin", sha256: null }],
  test: [{ name: "test.bin", sha256: null }],
};

/** 20,000 pictures of CIFAR-100, split anew: its test pictures are not those of the official split. */
export const CIFAR100_SUBSET: Edition = {
  name: "CIFAR-100 subset",
  complete: false,
  train: [{ name: "train_15000.bin", sha256: "69b5843e87ec6c9e5b9e5f0d9a4557288152d7caa9559da4bcaef0d153486b40" }],
  test: [{ name: "test_5000.bin", sha256: "4174bb5316d4ff9cf62b432fc5b70cc6c58fb0357e91195a31987546c3e9fc70" }],
};

/**
 * Fashion-MNIST. The sums are of the files in Debian's package dataset-fashion-mnist; with the name and the time put back into
 * their gzip headers (1,504,176,606 s for the training files, 1,504,176,627 s for the others) they have the md5 sums that the
 * data set's own README publishes.
 */
export const FASHION_MNIST: Edition = idxEdition("Fashion-MNIST", {
  "train-images-idx3-ubyte": { sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888" },
  "train-labels-idx1-ubyte": { sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9" },
  "t10k-images-idx3-ubyte": { sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b" },
  "t10k-labels-idx1-ubyte": { sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34" },
});

/** MNIST, with the sums that several independent projects publish for its uncompressed files. */
export const MNIST: Edition = idxEdition("MNIST", {
  "train-images-idx3-ubyte": { sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db" },
  "train-labels-idx1-ubyte": { sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5" },
  "t10k-images-idx3-ubyte": { sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7" },
  "t10k-labels-idx1-ubyte": { sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2" },
});

/** KMNIST (Kuzushiji-MNIST), with the sums that torchvision publishes for its gzip files. */
export const KMNIST: Edition = idxEdition("KMNIST", {
  "train-images-idx3-ubyte": gzipOnly("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
  "train-labels-idx1-ubyte": gzipOnly("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
  "t10k-images-idx3-ubyte": gzipOnly("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
  "t10k-labels-idx1-ubyte": gzipOnly("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
});

function gzipOnly(gzip: string): Omit<ExpectedFile, "name"> {
  return { sha256: null, gzip };
}

/** The four files of a data set in MNIST's format. */
function idxEdition(
  name: string,
  sums: Readonly<Record<`${"train" | "t10k"}-${"images-idx3" | "labels-idx1"}-ubyte`, Omit<ExpectedFile, "name">>>,
): Edition {
  const files = Object.entries(sums).map(([file, sum]) => ({ name: file, ...sum }));
  return { name, complete: true, train: files.slice(0, 2), test: files.slice(2) };
}
