"""One training step at a time, on demand, for compare-train-step.mjs.

    python train_step.py --model resnet20 --batch 128 --threads 2 [--device cuda]

Prints one JSON line when ready. For every line "N" on standard input it runs N steps and prints
{"seconds", "loss", "peakBytes"}; ends when the input does.
"""

import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F

from networks import build, example_batch, optimiser


def peak_bytes():
    """Largest resident size of this process so far; getrusage would begin with the parent's."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    idle = peak_bytes()
    network = build(options.model).train().to(options.device)
    update = optimiser(options.model, network)
    x, y = example_batch(options.model, options.batch, torch.Generator().manual_seed(options.seed))
    x, y = x.to(options.device), y.to(options.device)
    if options.channels_last and x.ndim == 4:
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)

    def step():
        update.zero_grad(set_to_none=True)
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        update.step()
        return loss.item()

    runtime = f"torch {torch.__version__} on {options.device}"
    ready = {"runtime": runtime, "threads": torch.get_num_threads(), "idleBytes": idle}
    print(json.dumps({**ready, "params": sum(p.numel() for p in network.parameters())}), flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        for _ in range(int(line)):
            loss = step()
        seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, "loss": loss, "peakBytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
