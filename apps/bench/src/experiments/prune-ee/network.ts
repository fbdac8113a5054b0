import { type Device, type Model, proposeCuts } from "@exitkit/core-gpu";
import { type ExitNetwork, exitNetwork, heads, importBackbone, tapsAtShares } from "@exitkit/early-exit";
import { type Pretrained, pretrained } from "../../zoo/resnet.ts";

/** A pretrained ResNet with Shallow-Deep exits at their places, batch norms apart, so that all of it can be trained. */
export async function exitResnet(device: Device, name: Pretrained): Promise<ExitNetwork> {
  const { model } = await pretrained(name, { folded: false });
  return withExits(device, model);
}

async function withExits(device: Device, model: Model): Promise<ExitNetwork> {
  const backbone = importBackbone(model, { taps: proposeCuts(model) });
  const taps = await tapsAtShares(device, backbone);
  return exitNetwork(
    importBackbone(model, { taps }),
    taps.map((tap) => ({ name: tap, tap, head: heads.mixedPool() })),
  );
}
