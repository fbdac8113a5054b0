import { type Html, html } from "./html.ts";
import { count } from "./numbers.ts";
import type { TrainCifar10Result } from "./types.ts";

/** How train-cifar10 measures. */
export function trainCifar10Words({ data, recipe }: TrainCifar10Result): Html {
  const sizes =
    data === undefined
      ? "The data set was not recorded."
      : `${data.name}: ${count(data.train)} training and ${count(data.test)} test pictures.`;
  const steps = Object.entries(recipe).map(
    ([key, value]) => `${key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${value}`,
  );
  return html`<dl>
<dt>Data</dt><dd>${sizes} A training picture is padded by four black pixels, cropped at random and mirrored half of the time. The test pictures choose nothing: no epoch is picked by them.</dd>
<dt>Recipe</dt><dd>${steps.length === 0 ? "Not recorded." : `${steps.join(", ")}.`} SGD with Nesterov momentum; the learning rate rises and falls once (one cycle), by cosine.</dd>
<dt>Time</dt><dd>Wall clock of the training steps with the preparation of their pictures; evaluation is not counted.</dd>
</dl>`;
}

/** How train-step measures. */
export function trainStepWords(): Html {
  return html`<dl>
<dt>Step</dt><dd>Forward pass, cross-entropy, gradients of all parameters and the optimiser's update (SGD with momentum for the ResNets, AdamW for the transformers), with random inputs that stay the same.</dd>
<dt>Time</dt><dd>Median over the steps, after two that are not counted.</dd>
<dt>GFLOP/s</dt><dd>Six floating-point operations for every multiply-accumulate of the forward pass's convolutions and matrix products, attention in full, divided by the step's time.</dd>
</dl>`;
}
