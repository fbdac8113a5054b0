/**
 * Accuracy lost, as a fraction of n samples that two networks answered, and the half width of its 95 % interval: 1.96 standard errors of
 * the mean of n differences, 1 where only the first network is right, −1 where only the second is, 0 elsewhere.
 *
 * @param lost How many only the first answers rightly.
 * @param gained How many only the second does.
 */
export function pairedLoss(
  lost: number,
  gained: number,
  n: number,
): { readonly loss: number; readonly margin: number } {
  const loss = (lost - gained) / n;
  return { loss, margin: 1.96 * Math.sqrt(((lost + gained) / n - loss ** 2) / n) };
}

/**
 * The widest that {@link pairedLoss}'s interval can be where only the two accuracies are known: no sample is answered rightly, or wrongly,
 * by both more often than it must be.
 */
export function widestMargin(full: number, accuracy: number, n: number): number {
  const differing = Math.min(full, 1 - accuracy) + Math.min(accuracy, 1 - full);
  return 1.96 * Math.sqrt((differing - (full - accuracy) ** 2) / n);
}
