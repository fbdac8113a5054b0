/// <reference path="./cephes.d.ts" />

/** P(X ≤ k), X binomial with n trials of probability p in [0, 1]. */
export type BinomialTail = (k: number, n: number, p: number) => number;

let loaded: Promise<BinomialTail> | undefined;

/** Loads the binomial distribution function, once: only who calibrates pays for it. */
export function loadBinomialTail(): Promise<BinomialTail> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<BinomialTail> {
  const { default: cephes } = await import("cephes");
  await cephes.compiled;
  return (k, n, p) => {
    if (k < 0) return 0;
    return k >= n || p <= 0 ? 1 : cephes.bdtr(k, n, p);
  };
}
