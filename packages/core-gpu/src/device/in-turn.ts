/**
 * Makes a function that runs what it is given one after the other: state has one owner at a time, so what is started while
 * something runs waits for it. A failure is the caller's alone; the next one runs all the same.
 */
export function makeInTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}
