"""`bench run train-cifar10` in PyTorch: ResNet-20, the same recipe, the same pictures.

    python train_cifar10.py DATA_FOLDER [--epochs 15] [--seed 1] [--pictures 50000] [--threads 2]

Reads the official binary files. Prints a JSON line after every epoch and one with the result at the end. The random
numbers (first weights, order, crops) are PyTorch's own, so runs agree in what they reach, not in every digit.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from networks import build

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

RECIPE = json.loads((Path(__file__).parent / "recipe.json").read_text())


def read(files):
    rows = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
    return torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(rows[:, 0].astype(np.int64))


def normalised(pixels):
    return (pixels.float() / 255 - MEAN) / DEVIATION


def augmented(pixels, generator):
    """Random crop of the picture padded by 4 black pixels, mirrored half of the time."""
    n = len(pixels)
    padded = F.pad(pixels, (4, 4, 4, 4))
    rows = torch.randint(0, 9, (n, 1), generator=generator) + torch.arange(32)
    columns = torch.randint(0, 9, (n, 1), generator=generator) + torch.arange(32)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(n).view(n, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1), rows.view(n, 1, 32, 1), columns.view(n, 1, 1, 32)]


def one_cycle(step, steps):
    """Up from peak/25 to peak by cosine in the first part, then down to almost nothing."""
    peak, warm = RECIPE["peakLearningRate"], RECIPE["warmUp"] * steps - 1
    begin, end = peak / 25, peak / 25 / 1e4
    cosine = lambda a, b, share: b + (a - b) / 2 * (1 + math.cos(math.pi * share))
    if step <= warm:
        return cosine(begin, peak, step / warm)
    return cosine(peak, end, (step - warm) / (steps - 1 - warm))


@torch.no_grad()
def evaluate(network, pixels, labels):
    network.eval()
    logits = torch.cat([network(normalised(part)) for part in pixels.split(500)])
    network.train()
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    parser.add_argument("--batch", type=int, default=RECIPE["batch"])
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    pixels, labels = read([options.data / f"data_batch_{part}.bin" for part in range(1, 6)])
    pixels, labels = pixels[: options.pictures], labels[: options.pictures]
    test = read([options.data / "test_batch.bin"])

    network = build("resnet20").train()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": RECIPE["weightDecay"]}, {"params": rest, "weight_decay": 0.0}]
    update = torch.optim.SGD(groups, lr=0.1, momentum=RECIPE["momentum"], nesterov=True)
    per_epoch = len(pixels) // options.batch
    steps, step, begun = per_epoch * options.epochs, 0, time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        order = torch.randperm(len(pixels), generator=generator)
        losses, right = 0.0, 0
        for rows in order[: per_epoch * options.batch].split(options.batch):
            for group in update.param_groups:
                group["lr"] = one_cycle(step, steps)
            logits = network(normalised(augmented(pixels[rows], generator)))
            loss = F.cross_entropy(logits, labels[rows])
            update.zero_grad(set_to_none=True)
            loss.backward()
            update.step()
            losses, right, step = losses + loss.item(), right + (logits.argmax(1) == labels[rows]).sum().item(), step + 1
        test_loss, test_accuracy = evaluate(network, *test)
        row = {"seed": options.seed, "epoch": epoch, "trainLoss": losses / per_epoch}
        row |= {"trainAccuracy": right / per_epoch / options.batch, "testLoss": test_loss, "testAccuracy": test_accuracy}
        print(json.dumps(row | {"seconds": time.perf_counter() - begun}), flush=True)
    result = {"runtime": f"torch {torch.__version__}", "network": "resnet20", "pictures": len(pixels)}
    result |= {"epochs": options.epochs, "seed": options.seed, "testAccuracy": test_accuracy}
    print(json.dumps(result | {"seconds": time.perf_counter() - begun}), flush=True)


if __name__ == "__main__":
    main()
