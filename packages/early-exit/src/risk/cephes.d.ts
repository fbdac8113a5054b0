/** The library's own types are not found by programs that import it as a module. */
declare module "cephes" {
  const cephes: {
    /** Settled once the library can be called. */
    readonly compiled: Promise<void>;
    /** P(X ≤ k) for X binomial with n trials of probability p. */
    bdtr(k: number, n: number, p: number): number;
  };
  export default cephes;
}
