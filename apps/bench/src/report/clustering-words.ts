import type { ClusteringResult } from "./clustering-types.ts";
import { type Html, html } from "./html.ts";
import { count, decimal } from "./numbers.ts";

/** How many runs ended by themselves, and how long the method of the paper trains. */
export function settledWords({ runs, recipe }: Pick<ClusteringResult, "runs" | "recipe">): string {
  if (runs.length === 0) return "";
  const settled = runs.filter((run) => run.settled).length;
  const { tolerance } = recipe;
  const meaning =
    typeof tolerance === "number" ? ` (fewer than ${decimal(100 * tolerance, 1)} % of answers changed)` : "";
  return `${count(settled)} of ${count(runs.length)} runs had settled${meaning}; IDEC itself trains up to 20,000 steps, its autoencoder for hundreds of epochs.`;
}

/** How e2cm-clustering measures. */
export function clusteringWords(result: ClusteringResult): Html {
  const { data, recipe } = result;
  const sizes = data.map(
    ({ name, train, test }) => `${name}: ${count(train)} training and ${count(test)} test pictures`,
  );
  const steps = Object.entries(recipe).map(
    ([key, value]) =>
      `${key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${String(value).replaceAll(",", "–")}`,
  );
  return html`<dl>
<dt>Data</dt><dd>${sizes.length === 0 ? "Not recorded." : `${sizes.join("; ")}.`} The training pictures are clustered and make the cluster means. No label is used for either; labels only name the clusters, on training pictures, and judge.</dd>
<dt>Clustering</dt><dd>An autoencoder learns to reconstruct the pictures; k-means finds centres among its codes; IDEC then trains both together, the reconstruction beside the divergence of soft assignments from a sharpened target. ${steps.length === 0 ? "The recipe was not recorded." : `Recipe: ${steps.join(", ")}.`} ${settledWords(result)}</dd>
<dt>Exits</dt><dd>After each hidden layer of the encoder: distances of its full output to the means of the clusters, divided by the average distance over the training pictures; the nearest mean answers.</dd>
<dt>Thresholds</dt><dd>One probability of answering as the plain network does, asked of all exits, chosen on one half of the test pictures without their labels and reported on the other half, both ways.</dd>
<dt>Accuracy</dt><dd>Each cluster stands for one class, by the one-to-one assignment that fits the training pictures best under the plain network's clusters; the same names for every cost. NMI: normalised mutual information, arithmetic mean; ARI: adjusted Rand index; neither needs names.</dd>
<dt>Cost</dt><dd>Multiply-accumulates of one picture: the encoder up to the layer it leaves at, plus every exit it passed. 100 % is the plain encoder.</dd>
</dl>`;
}
