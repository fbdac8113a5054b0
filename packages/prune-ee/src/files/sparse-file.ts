import {
  checkArguments,
  InputError,
  readSafetensorsFile,
  type Tensor,
  tensor,
  writeSafetensorsFile,
} from "@exitkit/core-gpu";

const FORMAT = "exitkit/sparse/1";
const BITS = "bits:";
const caller = "prune-ee.readSparseFile";

/**
 * Writes tensors as a safetensors file in which pruned ones take less: a bit for each element that says whether it is there, and the
 * elements that are. float32 tensors with more than one zero in 32 are written so, the others as they are.
 *
 * Source: one bit an element is the cheapest form up to about 97 % of zeros [D]; row and column numbers take more.
 * @throws InputError as `writeSafetensorsFile` of core-gpu.
 */
export async function writeSparseFile(path: string, tensors: Readonly<Record<string, Tensor>>): Promise<void> {
  checkArguments("prune-ee.writeSparseFile", { path: [path, "a string"], tensors: [tensors, "a record of tensors"] });
  const shapes: Record<string, readonly number[]> = {};
  const entries = Object.entries(tensors).flatMap(([name, value]) => {
    const packed = packedOf(value);
    if (packed === null) return [[name, value] as const];
    shapes[name] = value.shape;
    return [[name, packed.values] as const, [`${BITS}${name}`, packed.bits] as const];
  });
  await writeSafetensorsFile(path, Object.fromEntries(entries), { format: FORMAT, shapes: JSON.stringify(shapes) });
}

/**
 * Reads what {@link writeSparseFile} wrote, to the same bits.
 *
 * @throws InputError when the file is another one, cut short, or its bits do not fit its elements.
 */
export async function readSparseFile(path: string): Promise<Record<string, Tensor>> {
  checkArguments("prune-ee.readSparseFile", { path: [path, "a string"] });
  const { tensors, metadata } = await readSafetensorsFile(path);
  if (metadata.format !== FORMAT) {
    const fix = "Read others with readSafetensorsFile of core-gpu.";
    throw new InputError(caller, `"${path}" must be a file that writeSparseFile wrote`, `${metadata.format}`, fix);
  }
  const shapes = shapesOf(path, metadata.shapes ?? "");
  const plain = Object.entries(tensors).filter(([name]) => !name.startsWith(BITS));
  return Object.fromEntries(
    plain.map(([name, values]) => {
      const shape = shapes.get(name);
      return [name, shape === undefined ? values : unpacked(path, name, shape, values, tensors[`${BITS}${name}`])];
    }),
  );
}

/** Bits and what is there; null where it would take more than the tensor itself. −0 is there: only +0 is left out. */
function packedOf({ dtype, shape, data }: Tensor) {
  if (dtype !== "float32") return null;
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const there = words.reduce((count, word) => count + (word === 0 ? 0 : 1), 0);
  if (there >= (data.length * 31) / 32) return null;
  const bits = new Uint8Array(Math.ceil(data.length / 8));
  const values = new Float32Array(there);
  let at = 0;
  words.forEach((word, index) => {
    if (word === 0) return;
    bits[index >> 3]! |= 1 << (index & 7);
    values[at++] = data[index]!;
  });
  return { values: tensor("float32", [there], values), bits: tensor("uint8", [bits.length], bits), shape };
}

function unpacked(
  path: string,
  name: string,
  shape: readonly number[],
  values: Tensor,
  bits: Tensor | undefined,
): Tensor {
  const size = shape.reduce((product, side) => product * side, 1);
  const damaged = (actual: string) =>
    new InputError(caller, `"${name}" of "${path}" must have a bit for each of its ${size} elements`, actual);
  if (bits?.dtype !== "uint8" || bits.data.length !== Math.ceil(size / 8)) {
    throw damaged(bits === undefined ? "none" : `${bits.data.length} bytes of ${bits.dtype}`);
  }
  if (values.dtype !== "float32") throw damaged(`elements of ${values.dtype}`);
  const data = new Float32Array(size);
  let at = 0;
  for (let index = 0; index < size; index++) {
    if ((bits.data[index >> 3]! & (1 << (index & 7))) !== 0) data[index] = values.data[at++] ?? Number.NaN;
  }
  if (at !== values.data.length) throw damaged(`${at} bits set and ${values.data.length} elements`);
  return tensor("float32", shape, data);
}

function shapesOf(path: string, text: string): ReadonlyMap<string, readonly number[]> {
  try {
    const parsed = Object.entries(JSON.parse(text) as Record<string, readonly number[]>);
    const sizes = parsed.map(([, shape]) => shape.reduce((product, side) => product * side, 1));
    if (sizes.every((size) => Number.isSafeInteger(size) && size >= 0 && size < 2 ** 31)) return new Map(parsed);
  } catch {
    // Falls through to the error.
  }
  throw new InputError(caller, `"${path}" must say the shapes of its tensors`, text.slice(0, 60));
}
