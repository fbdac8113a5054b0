/** Bytes that parsers stumble over: borders of numbers, brackets and quotes, lengths. */
const borders = [0, 1, 7, 8, 9, 10, 13, 32, 34, 39, 44, 46, 58, 91, 92, 93, 95, 123, 125, 127, 128, 192, 254, 255];
const words = ["__proto__", "NaN", "null", "-1", "1e999", "9007199254740993", '"', "{", "[", "../", "\u0000", "\ud800"];

/** A small generator of 32-bit numbers (mulberry32): inputs follow from the seed alone. */
export function numbers(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { below: (limit) => Math.floor(next() * limit) };
}

/**
 * One mutated input: one of the seeds with one to eight changes, of bits, bytes, numbers, words, or of whole stretches that are
 * cut, doubled, moved or taken from another seed.
 *
 * @param seeds Valid inputs.
 */
export function mutated(seeds, random) {
  let bytes = Buffer.from(seeds[random.below(seeds.length)]);
  for (let change = 1 + random.below(8); change > 0; change--) bytes = changedOnce(bytes, seeds, random);
  return bytes;
}

function changedOnce(bytes, seeds, random) {
  if (bytes.length === 0) return Buffer.from(seeds[random.below(seeds.length)]);
  const at = random.below(bytes.length);
  // Headers decide most: half of the changes are near the beginning.
  const near = random.below(2) === 0 ? at : random.below(Math.min(bytes.length, 256));
  const stretch = () => random.below(Math.min(bytes.length - at, 1 + random.below(4) ** 4) + 1);
  switch (random.below(9)) {
    case 0:
      bytes[near] ^= 1 << random.below(8);
      return bytes;
    case 1:
      bytes[near] = borders[random.below(borders.length)];
      return bytes;
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + stretch())]);
    case 4: {
      const from = bytes.subarray(at, at + stretch());
      return Buffer.concat([bytes.subarray(0, near), from, bytes.subarray(near)]);
    }
    case 5: {
      const other = seeds[random.below(seeds.length)];
      const from = random.below(other.length + 1);
      return Buffer.concat([
        bytes.subarray(0, at),
        other.subarray(from, from + 1 + random.below(64)),
        bytes.subarray(at),
      ]);
    }
    case 6: {
      if (bytes.length < near + 8) return bytes;
      const value = [0n, 1n, 0xffffffffn, 2n ** 63n, 2n ** 64n - 1n, BigInt(bytes.length)][random.below(6)];
      bytes.writeBigUInt64LE(value, near);
      return bytes;
    }
    case 7: {
      const word = Buffer.from(words[random.below(words.length)]);
      return Buffer.concat([bytes.subarray(0, near), word, bytes.subarray(near)]);
    }
    default: {
      const word = bytes.subarray(at, at + 1 + random.below(8));
      return Buffer.concat([
        bytes.subarray(0, at),
        ...Array.from({ length: random.below(40) }, () => word),
        bytes.subarray(at),
      ]);
    }
  }
}
