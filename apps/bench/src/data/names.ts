/** Class names of CIFAR-10, label 0 first. */
export const CIFAR10_CLASSES: readonly string[] = "airplane automobile bird cat deer dog frog horse ship truck".split(
  " ",
);

/** Fine class names of CIFAR-100, label 0 first. */
export const CIFAR100_CLASSES: readonly string[] = `apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm`.split(/\s+/);

/** Class names of Fashion-MNIST, label 0 first. */
export const FASHION_MNIST_CLASSES: readonly string[] = [
  "T-shirt/top",
  "trouser",
  "pullover",
  "dress",
  "coat",
  "sandal",
  "shirt",
  "sneaker",
  "bag",
  "ankle boot",
];

/** Class names of MNIST. */
export const DIGITS: readonly string[] = Array.from("0123456789");

/** Class names of KMNIST: the hiragana of each class, label 0 first. */
export const KMNIST_CLASSES: readonly string[] = "o ki su tsu na ha ma ya re wo".split(" ");
