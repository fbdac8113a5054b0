import { fileURLToPath } from "node:url";
import { fullDisk, killedSavers, saversAndReaders } from "./saved-exits.mjs";
import { smallDisk } from "./small-disk.mjs";
import { killedTraining, twoInOneFolder } from "./training.mjs";

/**
 * What happens to files when processes are killed, meet in one folder, or find no room: each drill takes how many times (and a
 * seed), and gives figures. Those it names under `none` must be 0, the one under `counts` says how many times; in full it is `full`.
 *
 * @param core `@exitkit/core-gpu`.
 * @param e2cm `@exitkit/e2cm`.
 * @param both Two sets of exits of another metric each.
 */
export function drills(core, e2cm, both) {
  return [
    {
      key: "saves",
      name: "two processes save exits over older ones and are killed",
      full: 1000,
      counts: "kills",
      none: ["lost"],
      run: (kills, seed = 0) => killedSavers(e2cm, both, kills, core.generator(seed)),
    },
    {
      key: "crowd",
      name: "two processes save exits, four load them",
      full: 100,
      counts: "rounds",
      none: ["failed"],
      run: (rounds) => saversAndReaders(e2cm, both, rounds),
    },
    {
      key: "training",
      name: "a training with a checkpoint every step is killed and gone on with",
      full: 1000,
      counts: "kills",
      none: ["backwards", "otherBits"],
      run: (kills, seed = 0) => killedTraining(kills, core.generator(seed)),
    },
    {
      key: "folder",
      name: "two processes begin a training in one folder",
      full: 100,
      counts: "rounds",
      none: ["otherBits", "otherErrors"],
      run: (rounds) => twoInOneFolder(rounds),
    },
    {
      key: "disk",
      name: "exits are saved over older ones on a full disk",
      full: 1000,
      counts: "rounds",
      none: ["otherErrors", "lost", "leftOvers"],
      async run(rounds) {
        const disk = await smallDisk();
        if (disk === null) return null;
        try {
          return await fullDisk(e2cm, both, rounds, disk.folder, disk.fill);
        } finally {
          disk.remove();
        }
      },
    },
  ];
}

/** Two sets of exits of the tiny network of the fixtures, of another metric each, without a calibration. */
export async function twoExits(core, e2cm) {
  const at = (name) => fileURLToPath(new URL(`../../packages/e2cm/fixtures/${name}`, import.meta.url));
  const model = await core.readModelFile(at("tiny.onnx"));
  const { tensors } = await core.readSafetensorsFile(at("pictures.safetensors"));
  const device = await core.openDevice("cpu", { threads: 1 });
  try {
    const batch = (part) => ({ x: tensors[part], y: tensors[`${part}Labels`].data });
    const options = { classes: 4, calibration: [batch("test")], features: "pooled", device };
    const fit = (metric) => e2cm.fit(model, [batch("train")], { ...options, metric });
    return [await fit("euclidean"), await fit("sharedCovariance")];
  } finally {
    await device.close();
  }
}
