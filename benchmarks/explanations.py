"""What explaining an image costs beside a plain forward pass, and how much memory fitting B234 to many images takes.

    make bench-explanations

ResNet-18 at 64 x 64 and at 224 x 224 in float32, random weights and images, 250 prototypes: 50 classes with 5 each. An
explanation contains its own forward pass; plain ones take turns with it. At most 1.3 forward passes are aimed at.
Memory is what fitting B234 to 20,000 images of 64 x 64 adds to the most that its process has ever held with the network
and the images (bytes, in memory) in it; at most 2 GB are aimed at.
"""

import argparse
import re
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from xcnn.evaluation.prototypes import prepared
from xcnn.metrics.cost import beside_forward
from xcnn.models import fine_tuned
from xcnn.models.fold import fold_batch_norm
from xcnn.prototypes import Encoder, EncoderExplanation, KMEx

BLOCKS = ("layer2", "layer3", "layer4")
CLASSES, PER_CLASS = 50, 5


def bytes_of(n: int, side: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, side, side) uint8 and labels (n,)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator), torch.arange(n) % CLASSES


scaled = partial(prepared, normalise=None)


def encoder(depth: int, batch: int = 256) -> Encoder:
    torch.manual_seed(0)
    network = fold_batch_norm(fine_tuned("resnet18", CLASSES)).to(memory_format=torch.channels_last)
    return Encoder(network, BLOCKS[-depth:], scaled, batch)


def cost(side: int, batch: int, repeats: int) -> None:
    """Print the time of explanations over that of a forward pass of the same network."""
    images, labels = bytes_of(max(PER_CLASS * CLASSES, batch), side)  # enough for a prototype each where maps are 1 x 1
    methods: dict[str, KMEx | EncoderExplanation] = {"KMEx": KMEx(encoder(1), PER_CLASS).fit(images, labels)}
    for depth, name in ((1, "B4"), (2, "B34"), (3, "B234")):
        methods[name] = EncoderExplanation(encoder(depth), PER_CLASS).fit(images, labels)
    network = methods["B4"].encoder.network
    some = images[:batch]
    explained = {name: partial(method.explain, some) for name, method in methods.items()}
    values, _ = beside_forward(network, scaled(some), explained, repeats)
    for name in methods:
        time_, memory = values[f"time/{name}"], values[f"memory/{name}"]
        print(f"{side} px, {name}: {time_:.2f} forward passes, {memory:.2f} of its memory")


def peak_mib() -> int:
    """The most memory that this process has held (Linux); `getrusage` would count its parent's as well."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 2**10


def fitting(n: int, side: int) -> tuple[int, float]:
    """What fitting B234 adds to the peak of memory, in MiB, and how many seconds it takes."""
    images, labels = bytes_of(n, side)
    encoder(3, 8).maps(images[:8])
    before, started = peak_mib(), time.perf_counter()
    EncoderExplanation(encoder(3), PER_CLASS).fit(images, labels)
    return peak_mib() - before, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="that B234 is fitted to")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    for side, batch in ((64, 64), (224, 16)):
        cost(side, batch, arguments.repeats)
    with get_context("spawn").Pool(1) as process:
        mib, seconds = process.apply(fitting, (arguments.images, 64))
    print(f"fitting B234 to {arguments.images:,} images of 64 px: {mib} MiB above network and images, {seconds:.0f} s")


if __name__ == "__main__":
    main()
