"""What the data module costs: steps of the 3-conv network on its batches against the same steps on ready tensors.

Both are timed in one run, step by step in turn, so that a change in the machine's load meets both. Prints the ratio;
it is to be at most 1.1.
"""

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xcnn.data import Shapes
from xcnn.models.conv3 import conv3


def step(network: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimiser.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=6400, help="images of 32 px in an epoch (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()

    data = Shapes(batch_size=options.batch_size, n_train=options.n)
    data.setup()
    network = conv3(len(data.classes))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    ready = list(data.train_dataloader())
    for images, labels in ready[:3]:  # warm-up
        step(network, optimiser, images, labels)

    loaded = in_memory = 0.0
    batches = iter(data.train_dataloader())
    for images, labels in ready:
        start = time.perf_counter()
        step(network, optimiser, images, labels)
        middle = time.perf_counter()
        step(network, optimiser, *next(batches))
        in_memory += middle - start
        loaded += time.perf_counter() - middle
    steps = len(ready)
    print(
        f"{steps} steps of {options.batch_size}: {1e3 * in_memory / steps:.2f} ms on tensors in memory, "
        f"{1e3 * loaded / steps:.2f} ms through the data module, ratio {loaded / in_memory:.3f}"
    )


if __name__ == "__main__":
    main()
