/** All data sets, a file and a line each: `context.data.cifar10()`. Add one by naming it here. */
export { cifar10 } from "./cifar10.ts";
export { cifar100 } from "./cifar100.ts";
export { fashionMnist } from "./fashion-mnist.ts";
export { kmnist } from "./kmnist.ts";
export { mnist } from "./mnist.ts";
