"""Fetch a data set: `python -m xcnn.data.download cifar10 --root DIR`, the command behind `make data-cifar10`.

Only ever called by hand: no run downloads anything.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from torchvision import datasets

from xcnn.data.cifar10 import CIFAR10
from xcnn.data.mnist import MNIST
from xcnn.data.shapes import Shapes
from xcnn.data.tensors import TensorDataModule
from xcnn.errors import UserError

DATA_SETS: dict[str, type[TensorDataModule]] = {"shapes": Shapes, "cifar10": CIFAR10, "mnist": MNIST}
SOURCES = {"cifar10": datasets.CIFAR10, "mnist": datasets.MNIST}


def download(name: str, root: Path) -> str:
    """Make sure that a data set is complete below `root`, fetching it if it is not; says where it is.

    Raises:
        UserError: it is not there and cannot be fetched.
    """
    if name not in SOURCES:
        return f"{name} is drawn from its seed: there is nothing to download."
    data = DATA_SETS[name](root=root)
    try:
        data.load()
    except UserError as error:
        found = error  # absent or damaged: that is what this command is for
    else:
        return f"{data.name} is already there, below {root}."
    try:
        for train in (True, False):
            SOURCES[name](root, train=train, download=True)
    # No network (URLError), a folder that cannot be written, a damaged file that torchvision takes for a whole one.
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot download {data.name} to {root} ({' '.join(str(error).split())}). Run this command on a "
            "machine with a network and copy the folder here, or set XCNN_DATA to a folder that holds the data set. "
            f"What is there now: {found}"
        ) from error
    return f"{data.name} is now there, below {root}."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xcnn.data.download", description="Fetch a data set.")
    parser.add_argument("name", choices=DATA_SETS)
    parser.add_argument(
        "--root", type=Path, default=Path(os.environ.get("XCNN_DATA", "data")), help="data root (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        print(download(options.name, options.root))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
