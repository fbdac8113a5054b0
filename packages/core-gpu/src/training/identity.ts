import { createHash } from "node:crypto";
import type { Runner } from "../device/runner.ts";
import { InputError } from "../errors.ts";
import { hashTensor, programStructure } from "../program/hash.ts";
import { generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import type { Dataset } from "./dataset.ts";
import { attempt } from "./failure.ts";
import type { Change, Identity } from "./progress.ts";

/** What names a run. */
interface Named {
  readonly runner: Runner;
  readonly data: Dataset;
  readonly identity?: string | undefined;
}

/** Samples that the data are known by. */
const SAMPLES = 32;

/**
 * Works out what a run is known by: equal in every process for the same program, data and `identity`.
 *
 * @throws TrainingError where the data fail.
 */
export async function identityOf({ runner, data, identity }: Named): Promise<Identity> {
  const m = Math.min(SAMPLES, data.size);
  const indices = Int32Array.from({ length: m }, (_, at) => Math.floor((at * data.size) / m));
  const position = { step: 0, epoch: 0, batch: 0 };
  const ask = async () => data.batch(indices, generator(0));
  const batch = await attempt({ position, checkpoint: null }, "the data failed", ask);
  const { text, constants } = programStructure(runner.program);
  const isScalar = ({ data }: Tensor) => data.length === 1;
  return {
    program: sha256(text),
    scalars: constants.filter(isScalar).map(({ data }) => Number(data[0])),
    constants: sha256(
      constants
        .filter((constant) => !isScalar(constant))
        .map(hashTensor)
        .join(),
    ),
    data: sha256(
      Object.entries(batch)
        .map(([name, tensor]) => `${name} ${hashTensor(tensor)}`)
        .sort()
        .join(),
    ),
    identity: identity ?? null,
  };
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** @throws InputError where the resumed run is not the one of the checkpoint, naming what differs, unless that is allowed. */
export function checkIdentity(
  caller: string,
  path: string,
  before: Identity,
  now: Identity,
  allowed: readonly Change[],
): void {
  const found: readonly (readonly [Change, string | null])[] = [
    ["data", before.data === now.data ? null : "other samples"],
    ["program", programDifference(before, now)],
    ["identity", before.identity === now.identity ? null : `identity ${now.identity} instead of ${before.identity}`],
  ];
  const differs = found.filter(([kind, actual]) => actual !== null && !allowed.includes(kind));
  if (differs.length === 0) return;
  const names = differs.map(([kind]) => `"${kind}"`).join(", ");
  throw new InputError(
    caller,
    `a run resumed from ${path} must have its program, optimiser and data`,
    differs.map(([, actual]) => actual).join(", "),
    `Give it what it had, or say that it may have others: resumeWithOther: [${names}].`,
  );
}

/** As it was written: constants are float32. */
const rounded = (value: number): number => Number(value.toPrecision(7));

/** Settings of an optimiser are constants of the program, or whether there are some nodes. */
function programDifference(before: Identity, now: Identity): string | null {
  if (before.program !== now.program) return "another program (another network, loss or kind of optimiser)";
  const changed = now.scalars.flatMap((value, at) => {
    const former = before.scalars[at];
    return Object.is(value, former) ? [] : [`${rounded(value)} instead of ${rounded(former!)}`];
  });
  if (changed.length > 0) {
    const distinct = [...new Set(changed)].slice(0, 4).join(", ");
    return `constants of the program, such as momentum or weight decay, of ${distinct}`;
  }
  return before.constants === now.constants ? null : "other constants of the program";
}
