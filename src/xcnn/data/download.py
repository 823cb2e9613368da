"""Fetch a data set: `python -m xcnn.data.download cifar10 --root DIR`, the command behind `make data-cifar10`.

Only ever called by hand: no run downloads anything.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from torchvision import datasets
from tqdm import tqdm

from xcnn.data import cub200, imagenette, tiny_imagenet
from xcnn.data.cifar10 import CIFAR10
from xcnn.data.imagenet import ImageNetVal
from xcnn.data.mnist import MNIST
from xcnn.data.stl10 import STL10
from xcnn.data.tensors import TensorDataModule
from xcnn.errors import UserError

TINY_IMAGENET_SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"  # of the zip
CUB200_MD5 = "97eceeb196236b17998738112f37df78"  # of the tgz
IMAGENETTE_MD5 = "3df6f0d01a2c9592104656642f5e78a3"  # of the tgz
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416  # HTTP


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


def _tiny_imagenet(root: Path) -> None:
    _archive(root, tiny_imagenet.FOLDER, tiny_imagenet.URL, "sha256", TINY_IMAGENET_SHA256, _unzip)


def _cub200(root: Path) -> None:
    _archive(root, cub200.FOLDER, cub200.URL, "md5", CUB200_MD5, _untar)


def _imagenette(root: Path) -> None:
    _archive(root, imagenette.FETCHED, imagenette.URL, "md5", IMAGENETTE_MD5, _untar)


def _archive(
    root: Path, name: str, url: str, algorithm: str, expected: str, unpack: Callable[[Path, Path, str], None]
) -> None:
    """Fetch, check and unpack an archive. Its folder `name` appears at once and whole; a broken download goes on."""
    folder, part, unpacked = root / name, root / f"{PurePosixPath(url).name}.part", root / f".{name}.unpacking"
    if folder.exists():
        raise UserError(f"{folder} is there, but is not whole: move or delete it, then run this command again.")
    root.mkdir(parents=True, exist_ok=True)
    _fetch(url, part)
    with part.open("rb") as stream:
        digest = hashlib.file_digest(stream, algorithm).hexdigest()
    if digest != expected:
        part.unlink()
        raise OSError(f"{url} is not the archive that was expected: its {algorithm} is {digest}")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpack(part, unpacked, name)
    (unpacked / name).replace(folder)
    shutil.rmtree(unpacked)
    part.unlink()


def _unzip(part: Path, unpacked: Path, name: str) -> None:
    with zipfile.ZipFile(part) as archive:
        for member in tqdm(archive.infolist(), desc=f"unpacking {name}", unit="file", leave=False):
            place = PurePosixPath(member.filename)
            if place.parts[:1] != (name,) or ".." in place.parts:
                raise OSError(f"the archive holds {member.filename!r}, which is outside {name}")
            archive.extract(member, unpacked)


def _untar(part: Path, unpacked: Path, name: str) -> None:
    with tarfile.open(part) as archive:
        for member in tqdm(archive, desc=f"unpacking {name}", unit="file", leave=False):
            archive.extract(member, unpacked, filter="data")


def _fetch(url: str, part: Path) -> None:
    """Bring the file `part` to its full length, from where an earlier try left it if the server can."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == RANGE_NOT_SATISFIABLE:
            return  # nothing is left to fetch
        raise
    with response:
        if response.status != PARTIAL_CONTENT:
            start = 0
        total = start + int(response.headers["Content-Length"] or 0)
        bar = tqdm.wrapattr(response, "read", total=total, initial=start, desc=part.stem, leave=False)
        with bar as stream, part.open("ab" if start else "wb") as file:
            shutil.copyfileobj(stream, file)
    if part.stat().st_size < total:
        raise OSError(f"the connection broke after {part.stat().st_size:,} of {total:,} bytes; run again to go on")


SOURCES = {
    "mnist": Source(MNIST.name, partial(_loaded, MNIST), partial(_torchvision, datasets.MNIST)),
    "cifar10": Source(CIFAR10.name, partial(_loaded, CIFAR10), partial(_torchvision, datasets.CIFAR10)),
    "stl10": Source(STL10.name, partial(_loaded, STL10), _stl10),
    "tiny-imagenet": Source(
        "Tiny ImageNet", lambda root: tiny_imagenet.title(tiny_imagenet.list_images(root).wnids), _tiny_imagenet
    ),
    "cub200": Source(cub200.CUB200.name, cub200.described, _cub200),
    "imagenette": Source(
        imagenette.Imagenette.name,
        lambda root: imagenette.title(*(len(paths) for paths, _ in imagenette.list_images(root))),
        _imagenette,
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
    # No network (URLError), a folder that cannot be written, a damaged file that torchvision takes for a whole one.
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
    sys.exit(main())
