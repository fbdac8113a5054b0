import { checkArguments, countMacs, type Device, InputError, macsUpTo, probeShapes } from "@exitkit/core-gpu";
import type { Backbone } from "../backbones/backbone.ts";

/** Where Shallow-Deep Networks put their exits, as shares of the network's cost [S: the authors' code]. */
const SHALLOW_DEEP = [0.15, 0.3, 0.45, 0.6, 0.75, 0.9] as const;

/**
 * The taps nearest to given shares of the backbone's MACs, in the order of their MACs and of the graph; one that is nearest to
 * several comes once.
 *
 * @param shares In (0, 1). Default: those of Shallow-Deep Networks, .15, .3, .45, .6, .75, .9.
 * @throws InputError on no shares or one outside (0, 1).
 * @example
 * ```ts
 * import { openDevice, proposeCuts, readModelFile } from "@exitkit/core-gpu";
 * import { exitNetwork, heads, importBackbone, tapsAtShares } from "@exitkit/early-exit";
 * const model = await readModelFile("network.onnx");
 * const backbone = importBackbone(model, { taps: proposeCuts(model) });
 * const device = await openDevice("cpu");
 * const taps = await tapsAtShares(device, backbone, [0.3, 0.7]);
 * await device.close();
 * const network = exitNetwork(backbone, taps.map((tap) => ({ tap, head: heads.mixedPool() })));
 * console.assert(network.exits.length === 2);
 * ```
 */
export async function tapsAtShares(
  device: Device,
  backbone: Backbone,
  shares: readonly number[] = SHALLOW_DEEP,
): Promise<readonly string[]> {
  checkArguments("early-exit.tapsAtShares", {
    device: [device, "an open device"],
    backbone: [backbone, { toModel: "a function", output: "a string" }],
  });
  if (!Array.isArray(shares) || shares.length === 0 || shares.some((share) => !(share > 0 && share < 1))) {
    const actual = Array.isArray(shares) ? `[${shares.join(", ")}]` : typeof shares;
    throw new InputError("early-exit.tapsAtShares", "shares must be numbers above 0 and below 1", actual);
  }
  const model = backbone.toModel(backbone.params);
  const count = countMacs(model, await probeShapes(device, model));
  const full = macsUpTo(model, count, [backbone.output]);
  const order = model.proto.graph!.node.flatMap(({ output }) => output);
  // An object's keys are in no order to rely on: those that look like integers come first.
  const taps = Object.keys(backbone.taps)
    .map((tap) => ({ tap, macs: macsUpTo(model, count, [tap]), at: order.indexOf(tap) }))
    .sort((a, b) => a.macs - b.macs || a.at - b.at);
  const chosen = nearest(
    taps.map(({ macs }) => macs / full),
    shares,
  );
  return taps.filter((_, at) => chosen.has(at)).map(({ tap }) => tap);
}

/** For each wanted number the index of the nearest of `values`, the first of equals. */
export function nearest(values: readonly number[], wanted: readonly number[]): ReadonlySet<number> {
  return new Set(
    wanted.map((target) => {
      const distances = values.map((value) => Math.abs(value - target));
      return distances.indexOf(Math.min(...distances));
    }),
  );
}
