"""Fetch a data set: `python -m xcnn.data.download cifar10 --root DIR`, the command behind `make data-cifar10`.

Only ever called by hand: no run downloads anything.
"""

import argparse
import os
import shutil
import socket
import sys
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from torchvision import datasets
from torchvision.datasets.utils import download_and_extract_archive

from xcnn.data import cub200, imagenette, tiny_imagenet
from xcnn.data.cifar10 import CIFAR10
from xcnn.data.imagenet import ImageNetVal
from xcnn.data.mnist import MNIST
from xcnn.data.stl10 import STL10
from xcnn.data.tensors import TensorDataModule
from xcnn.errors import UserError

TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"  # of the zip
CUB200_MD5 = "97eceeb196236b17998738112f37df78"  # of the tgz
IMAGENETTE_MD5 = "3df6f0d01a2c9592104656642f5e78a3"  # of the tgz
SILENCE = 60  # seconds without an answer after which a download ends; torchvision itself would wait for ever


class Source(NamedTuple):
    """How to look for a data set below a root, and how to fetch it where anybody may."""

    name: str
    found: Callable[[Path], str]  # the name with what is there; raises UserError where it is absent or damaged
    fetch: Callable[[Path], None] | None


def _loaded(kind: type[TensorDataModule], root: Path) -> str:
    data = kind(root=root)
    data.load()
    return data.name


def _imagenet(root: Path) -> str:
    data = ImageNetVal(root)
    data.setup()
    return data.name


def _torchvision(kind: type[datasets.MNIST] | type[datasets.CIFAR10], root: Path) -> None:
    for train in (True, False):
        kind(root, train=train, download=True)


def _stl10(root: Path) -> None:
    datasets.STL10(root, split="test", download=True)  # one archive holds all parts


def _archive(folder: str, url: str, md5: str, root: Path) -> None:
    """Fetch, check and unpack an archive. Its `folder` appears below `root` at once and whole.

    An archive that is there and whole is not fetched again.
    """
    unpacked = root / f".{folder}.unpacking"
    if (root / folder).exists():
        raise UserError(f"{root / folder} is there, but is not whole: move or delete it, then run this command again.")
    shutil.rmtree(unpacked, ignore_errors=True)
    download_and_extract_archive(url, root, unpacked, md5=md5, remove_finished=True)
    (unpacked / folder).replace(root / folder)
    shutil.rmtree(unpacked)


SOURCES = {
    "mnist": Source(MNIST.name, partial(_loaded, MNIST), partial(_torchvision, datasets.MNIST)),
    "cifar10": Source(CIFAR10.name, partial(_loaded, CIFAR10), partial(_torchvision, datasets.CIFAR10)),
    "stl10": Source(STL10.name, partial(_loaded, STL10), _stl10),
    "tiny-imagenet": Source(
        "Tiny ImageNet",
        lambda root: tiny_imagenet.title(tiny_imagenet.list_images(root).wnids),
        partial(_archive, tiny_imagenet.FOLDER, tiny_imagenet.URL, TINY_IMAGENET_MD5),
    ),
    "cub200": Source(
        cub200.CUB200.name,
        lambda root: cub200.title(cub200.list_images(root).classes),
        partial(_archive, cub200.FOLDER, cub200.URL, CUB200_MD5),
    ),
    "imagenette": Source(
        imagenette.Imagenette.name,
        lambda root: imagenette.title(*(len(paths) for paths, _ in imagenette.list_images(root))),
        partial(_archive, imagenette.FETCHED, imagenette.URL, IMAGENETTE_MD5),
    ),
    "imagenet": Source("ImageNet val", _imagenet, None),
}


def download(name: str, root: Path) -> str:
    """Make sure that a data set is complete below `root`, fetching it if it is not; says where it is.

    Raises:
        UserError: it is not there and cannot be fetched.
    """
    if name not in SOURCES:
        return f"{name} is drawn from its seed: there is nothing to download."
    source = SOURCES[name]
    try:
        return f"{source.found(root)} is already there, below {root}."
    except UserError as error:
        if source.fetch is None:
            raise
        found = error  # absent or damaged: that is what this command is for
    try:
        source.fetch(root)
    except UserError:
        raise
    # No network (URLError), a folder that cannot be written, a download cut short or changed (its checksum differs).
    except (OSError, HTTPException, RuntimeError, ValueError, tarfile.TarError) as error:
        raise UserError(
            f"cannot download {source.name} to {root} ({' '.join(str(error).split())}). Run this command on a "
            "machine with a network and copy the folder here, or set XCNN_DATA to a folder that holds the data set. "
            f"What is there now: {found}"
        ) from error
    return f"{source.name} is now there, below {root}."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xcnn.data.download", description="Fetch a data set.")
    parser.add_argument("name", choices=["shapes", *SOURCES])
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
    socket.setdefaulttimeout(SILENCE)
    sys.exit(main())
