"""Fetch torchvision's ImageNet weights: `python -m xcnn.models.download vgg16`, behind `make weights-vgg16`.

Only ever called by hand: no run downloads anything.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torchvision

from xcnn.errors import UserError
from xcnn.models.backbones import backbone
from xcnn.models.weights import save_weights

VERSION = "IMAGENET1K_V1"  # the weights that papers of before 2022, and most since, mean by a network's name


def download(name: str, root: Path) -> str:
    """Make sure that `root/weights/<name>.safetensors` is there and whole, fetching it if it is not; says where it is.

    Raises:
        UserError: an unknown name; a file that is not the network's; it is not there and cannot be fetched.
    """
    path = root / "weights" / f"{name}.safetensors"
    if path.is_file():
        backbone(name, weights=path)
        return f"the weights of {name} are already there: {path}."
    backbone(name)  # refuses an unknown name
    try:
        network = torchvision.models.get_model(name, weights=VERSION)
    except (OSError, RuntimeError) as error:  # no network (URLError), or a download cut short (its hash differs)
        raise UserError(
            f"cannot download the weights of {name} ({' '.join(str(error).split())}). Run this command on a machine "
            f"with a network and copy {path.name} to {path.parent}."
        ) from error
    save_weights(network, path)
    path.with_suffix(".txt").write_text(f"torchvision's {VERSION} of {name}\n", encoding="utf-8")
    return f"the weights of {name} (torchvision, {VERSION}) are now there: {path}."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xcnn.models.download", description="Fetch ImageNet weights.")
    parser.add_argument("name", help="a torchvision network, e.g. resnet50")
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
