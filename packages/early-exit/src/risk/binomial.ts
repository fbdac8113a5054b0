/**
 * P(X ≤ k), X binomial with n trials of probability p in [0, 1]: I_{1−p}(n − k, k + 1), the regularised incomplete beta function,
 * by its continued fraction.
 *
 * @param k Whole number.
 * @param n Whole number ≥ 1.
 * Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 26.5.8 and 26.5.24; evaluated by Lentz's method with Thompson and Barnett's
 * change.
 */
export function binomialTail(k: number, n: number, p: number): number {
  if (k < 0) return 0;
  if (k >= n || p <= 0) return 1;
  if (p >= 1) return 0;
  const [a, b, x] = [n - k, k + 1, 1 - p];
  // The fraction converges fast below the mean; above it the complement does.
  return x < (a + 1) / (a + b + 2) ? incompleteBeta(a, b, x) : 1 - incompleteBeta(b, a, p);
}

function incompleteBeta(a: number, b: number, x: number): number {
  const front = Math.exp(lnGamma(a + b) - lnGamma(a) - lnGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  let c = 1;
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m <= 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let change = 1;
    for (const term of [even, odd]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      change = c * d;
      fraction *= change;
    }
    if (Math.abs(change - 1) < 1e-15) break;
  }
  return front * fraction;
}

function away(value: number): number {
  return Math.abs(value) < 1e-300 ? 1e-300 : value;
}

/** ln Γ(z) for z ≥ 1: Stirling's series, after going up to z ≥ 15. */
function lnGamma(z: number): number {
  let shift = 0;
  let at = z;
  for (; at < 15; at++) shift += Math.log(at);
  const square = 1 / (at * at);
  const series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / at;
  return (at - 0.5) * Math.log(at) - at + Math.log(2 * Math.PI) / 2 + series - shift;
}
