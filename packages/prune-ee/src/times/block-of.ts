/** Blocks that runtimes compute channels in, the largest first, which is a multiple of all others; 1: in none. */
const BLOCKS = [16, 8, 4, 1] as const;
/** A block explains times as well as a smaller one where its error is larger by at most this: 3 %. */
const AS_GOOD = 0.03;

/**
 * The block of channels that a runtime computes in: the largest of 16, 8 and 4 that explains the times of the widths in between as well as
 * smaller ones do, 1 where there is none. By a block of b a width costs what the next multiple of b does; between multiples of 16 that is
 * read off a power law through their times, below the least in proportion. An error is the median over widths of
 * |ln(time ÷ time by the block)|, so that a few times which other work on the machine has spoilt decide nothing.
 *
 * @param times Milliseconds by width, some of them multiples of 16; where all are multiples of a block, nothing speaks for it.
 */
export function blockOf(times: ReadonlyMap<number, number>): number {
  const all = [...times].sort(([a], [b]) => a - b);
  const whole = all.filter(([width]) => width % BLOCKS[0] === 0);
  const most = whole.at(-1)?.[0] ?? 0;
  const explains = (block: number) => {
    const telling = all.filter(([width]) => width < most && width % block !== 0);
    const errorOf = (one: number) =>
      median(telling.map(([width, time]) => Math.abs(Math.log(time / timeAt(whole, Math.ceil(width / one) * one)))));
    const smaller = BLOCKS.filter((one) => one < block).map(errorOf);
    return telling.length > 0 && errorOf(block) <= Math.min(...smaller) + AS_GOOD;
  };
  return BLOCKS.slice(0, -1).find(explains) ?? 1;
}

/** A time by a power law between the known widths around; in proportion below the first. */
function timeAt(known: readonly (readonly [width: number, time: number])[], width: number): number {
  const above = known.findIndex(([one]) => one >= width);
  const [to, high] = known[above]!;
  if (above === 0) return (high * width) / to;
  const [from, low] = known[above - 1]!;
  return low * (high / low) ** (Math.log(width / from) / Math.log(to / from));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.floor(sorted.length / 2)]!) / 2;
}
