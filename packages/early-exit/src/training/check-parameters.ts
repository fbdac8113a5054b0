import { generator, InputError, layers, type Tensor } from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "./exit-network.ts";

/** @throws InputError unless the parameters are those of the network by path, dtype and shape. */
export function checkParameters(caller: string, network: ExitNetwork, params: ExitParameters): void {
  const expectation = "the parameters must be those of the network";
  if (!Array.isArray(params?.exits) || typeof params.backbone !== "object") {
    throw new InputError(caller, expectation, typeof params, "Pass { backbone, exits }, as network.init gives.");
  }
  const wanted = layers.flattenParameters(network.init(generator(0)));
  const given = layers.flattenParameters(params);
  for (const [path, like] of Object.entries(wanted)) {
    const found = given[path];
    if (found !== undefined && printed(found) === printed(like)) continue;
    const actual = found === undefined ? "none" : printed(found);
    throw new InputError(caller, `${expectation}: "${path}" ${printed(like)}`, actual);
  }
  const unknown = Object.keys(given).find((path) => !Object.hasOwn(wanted, path));
  if (unknown !== undefined) throw new InputError(caller, expectation, `"${unknown}", which is none of them`);
}

function printed({ dtype, shape }: Tensor): string {
  return `${dtype} [${shape.join(", ")}]`;
}
