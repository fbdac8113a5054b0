import { CIFAR_AUGMENTATION } from "../augment.ts";
import { CIFAR100, parseCifarFiles } from "../cifar.ts";
import type { PictureSet } from "../directory.ts";

/** CIFAR-100's binary version; or 20,000 of its pictures, split anew: their test pictures are not those of the official split. */
export const cifar100: PictureSet = {
  name: "cifar100",
  editions: [
    { name: "CIFAR-100", complete: true, train: { "train.bin": null }, test: { "test.bin": null } },
    {
      name: "CIFAR-100 subset",
      complete: false,
      train: { "train_15000.bin": "69b5843e87ec6c9e5b9e5f0d9a4557288152d7caa9559da4bcaef0d153486b40" },
      test: { "test_5000.bin": "4174bb5316d4ff9cf62b432fc5b70cc6c58fb0357e91195a31987546c3e9fc70" },
    },
  ],
  folders: ["cifar-100-binary"],
  classNames:
    `apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl
hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal
shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm`.split(/\s+/),
  normalisation: { mean: [0.507, 0.487, 0.441], deviation: [0.267, 0.256, 0.276] },
  augmentation: CIFAR_AUGMENTATION,
  parse: parseCifarFiles(CIFAR100),
  fix: "Unpack https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz there and pass the folder with --data.",
};
