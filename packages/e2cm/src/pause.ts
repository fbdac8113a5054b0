/** Timers and sockets have their turn: in the middle of long sums, which would hold the process for a second. */
export const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
