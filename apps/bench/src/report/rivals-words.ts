import { type Html, html } from "./html.ts";
import { count, large, percent } from "./numbers.ts";
import type { RivalsResult } from "./rivals-types.ts";
import { backboneName } from "./series.ts";

/** How e2cm-rivals measures. */
export function rivalsWords({ datasets, settings }: RivalsResult): Html {
  const about = datasets.map(({ name, dataset, complete, train, test, network, macs, accuracy, trained }) => {
    const own = complete
      ? ""
      : dataset === "cifar100"
        ? ", a split of its own, not the official one"
        : ", a part of it";
    const origin =
      trained === null ? "pretrained" : `trained here for ${trained.epochs} epochs in ${count(trained.seconds)} s`;
    return html`<dt>${name}</dt><dd>${count(train)} training and ${count(test)} test pictures${own}. ${backboneName(network)}, ${origin}: ${large(macs)} multiply-accumulates a picture, ${percent(accuracy, 2)} right.</dd>`;
  });
  return html`<dl>
${about}
<dt>E²CM</dt><dd>One forward pass over the training pictures as they are. “Class means” is the paper's method: full features after every block, Euclidean distances, each divided by its root mean square over the training pictures. “Shared covariance” is the package's default, three exits; “at SDN's places” has its exits where SDN has them.</dd>
<dt>SDN</dt><dd>Shallow-Deep Networks: exits of mixed pooling and one linear layer at (at most) 15, 30, 45, 60, 75 and 90 % of the compute, one epoch of Adam on the frozen network; where no exit is sure the most confident answers. “Joint”: backbone and exits together, SGD at the published learning rate, the weight of each exit rising from 0.01 to its share of the cost.</dd>
<dt>Gates (BWDS)</dt><dd>SDN's exits, left by learned gates instead of thresholds (reconstructed from the abstract of Bolukbasi et al., 2017): logistic regressions that price cost against errors, for 32 prices, learned on the pictures that choose among them; the network's own last exit answers what no gate lets go.</dd>
<dt>BranchyNet</dt><dd>Three exits with a convolution each, trained with the backbone, weighted by their share of the cost; leaves where the entropy is low.</dd>
<dt>E²CM + SDN</dt><dd>The same exits as SDN, to whose linear layer the normalised distances to the class means at that place are added, standardised over the classes; for ${settings === undefined ? "several" : settings.epochs} epochs on the frozen network, in the same passes as SDN's exits beside it. “Shared covariance”: distances by the package's default metric (log posteriors) in place of the paper's. The paper says “unlimited budget”, and SDN's authors train exits for 25 epochs.</dd>
<dt>Thresholds</dt><dd>Chosen on one half of the test pictures and reported on the other, both ways round. All exits of a method ask for one probability of agreeing with the network's last exit, for every method alike.</dd>
<dt>Seeds</dt><dd>${settings === undefined ? "Not recorded." : `${settings.seeds} of the exits’ training.`} They decide initial weights and order of pictures. The plain network and the halves are the same for all; class means have nothing random.</dd>
<dt>Cost</dt><dd>Multiply-accumulates of one picture: the backbone up to the exit it leaves at, and every exit on the way. 100 % is the plain network without exits.</dd>
</dl>`;
}
