import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import { InputError } from "./errors.ts";
import { printed } from "./printed.ts";

/**
 * A stream of pseudo-random numbers. Its methods advance it, so two users of one generator see different numbers:
 * hand a `split()` to each part of a program that should not depend on how much the others draw.
 */
export interface Generator {
  /** A float64 in [0, 1), a multiple of 2⁻⁵³. */
  uniform(): number;
  /** A float64 of the standard normal distribution: mean 0, variance 1. */
  normal(): number;
  /** A whole number in [0, below), all equally likely. @throws InputError unless 1 ≤ below ≤ 2⁵³ − 1 is whole. */
  integer(below: number): number;
  /** The items in random order (every order equally likely), in a new array. */
  shuffle<T>(items: readonly T[]): T[];
  /** The numbers 0 … n − 1 in random order. @throws InputError unless 0 ≤ n < 2³¹ is whole. */
  permutation(n: number): Int32Array<ArrayBuffer>;
  /** A new generator whose stream is independent of what this one gives afterwards. Advances this one. */
  split(): Generator;
  /** Four 32-bit integers from which `generator(state)` goes on exactly where this one stands. */
  state(): readonly number[];
}

/**
 * Makes a random generator (xoroshiro128+). The same seed gives the same numbers on every machine.
 *
 * @param seed A whole number between ±(2⁵³ − 1), spread over the 128 bits of state by a hash (neighbouring seeds give
 * unrelated streams); or a `state()` of another generator, to go on from there.
 * @throws InputError on any other seed or on a state that is not four 32-bit integers, not all zero.
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * const random = generator(1);
 * console.assert(random.uniform() < 1);
 * console.assert(generator(random.state()).uniform() === random.uniform());
 * ```
 */
export function generator(seed: number | readonly number[]): Generator {
  const source = xoroshiro128plusFromState(typeof seed === "number" ? stateOf(seed) : checkedState(seed));

  const integer = (below: number): number => {
    if (!Number.isSafeInteger(below) || below < 1) {
      throw new InputError("core-gpu.Generator.integer", "below must be a whole number from 1 to 2^53 - 1", `${below}`);
    }
    return uniformInt(source, 0, below - 1);
  };
  const shuffleInPlace = <A extends Int32Array | unknown[]>(items: A): A => {
    for (let last = items.length - 1; last > 0; last--) {
      const other = uniformInt(source, 0, last);
      const moved = items[last]!;
      items[last] = items[other]!;
      items[other] = moved;
    }
    return items;
  };

  return {
    uniform: () => uniformFloat64(source),
    // Box and Muller's transform; its second number is not kept, so that the state is the source's alone.
    normal: () => Math.sqrt(-2 * Math.log(1 - uniformFloat64(source))) * Math.cos(2 * Math.PI * uniformFloat64(source)),
    integer,
    shuffle: (items) => shuffleInPlace([...items]),
    permutation: (n) => {
      if (!Number.isInteger(n) || n < 0 || n >= 2 ** 31) {
        throw new InputError("core-gpu.Generator.permutation", "n must be a whole number from 0 to 2^31 - 1", `${n}`);
      }
      return shuffleInPlace(Int32Array.from({ length: n }, (_, index) => index));
    },
    split: () => generator(nonZero(Array.from({ length: 4 }, () => scramble(source.next())))),
    state: () => [...source.getState()],
  };
}

// The library's own seeding makes the first number a copy of the seed, so the state is hashed from it here.
function stateOf(seed: number): readonly number[] {
  if (!Number.isSafeInteger(seed)) {
    throw new InputError("core-gpu.generator", "the seed must be a whole number within ±(2^53 - 1)", `${seed}`);
  }
  const low = seed | 0;
  const high = Math.floor(seed / 2 ** 32) | 0;
  return nonZero([1, 2, 3, 4].map((word) => scramble(scramble(low + Math.imul(word, 0x9e3779b9)) ^ high)));
}

/** MurmurHash3's 32-bit finaliser: a bijection in which every input bit changes every output bit half of the time. */
function scramble(word: number): number {
  let mixed = word | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** The all-zero state would give zeros for ever. */
function nonZero(state: readonly number[]): readonly number[] {
  return state.some((word) => word !== 0) ? state : [1, 2, 3, 4];
}

function checkedState(state: readonly number[]): readonly number[] {
  const valid =
    Array.isArray(state) &&
    state.length === 4 &&
    state.every((word) => Number.isInteger(word) && word === (word | 0)) &&
    state.some(Boolean);
  if (valid) return state;
  throw new InputError(
    "core-gpu.generator",
    "a seed must be a number, a state must be four 32-bit integers, not all zero",
    printed(state),
    "Pass what Generator.state() returned.",
  );
}
