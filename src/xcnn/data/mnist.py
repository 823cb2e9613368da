"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28, grey.

Looked for below the data root in torchvision's layout, `MNIST/raw/*-ubyte`, plain or gzipped. Another size is
reached by antialiased bilinear resizing, not by padding: the digit keeps its share of the image, so that one rule
serves 32 px (KMEx) and 224 px alike.
"""

import gzip
import math
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from xcnn.data.tensors import Labelled, TensorDataModule, checked_side, resized
from xcnn.errors import Missing, UserError

CLASSES = tuple("0123456789")
UNSIGNED_BYTE = 8  # the type code in the header of an IDX file


class MNIST(TensorDataModule):
    """MNIST in torchvision's layout; see `TensorDataModule` for the other arguments.

    Args:
        image_size: side in pixels; images of another size than 28 are resized (bilinear, antialiased).
        channels: 1 for grey, 3 for the grey channel repeated, as networks trained on colour images expect.
    """

    name = "MNIST"

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
        image_size: int = 28,
        channels: int = 1,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        if channels not in (1, 3):
            raise UserError(f"channels must be 1 (grey) or 3 (grey repeated), not {channels}.")
        self.image_size, self.channels = checked_side(image_size), channels

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        train, test = _read(self.root.resolve(), self.image_size, self.channels)
        return train, test, CLASSES


@lru_cache(maxsize=1)
def _read(root: Path, image_size: int, channels: int) -> tuple[Labelled, Labelled]:
    """Training and test images; the tensors are shared between calls, so nobody writes to them."""
    folder = root / "MNIST" / "raw"
    expected = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    files = {name: _plain_or_gzipped(folder, name) for name in expected}
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise Missing(
            f"MNIST is {'not there' if len(missing) == len(expected) else 'incomplete'}: looked in {folder} for "
            f"{', '.join(missing)} (or .gz). Run `make data-mnist`, or set XCNN_DATA to the folder above MNIST."
        )
    read = {name: _idx(file) for name, file in files.items() if file is not None}
    parts = []
    for part in ("train", "t10k"):
        images, labels = read[f"{part}-images-idx3-ubyte"], read[f"{part}-labels-idx1-ubyte"]
        if len(images) != len(labels):
            raise UserError(
                f"{folder} has {len(images)} images but {len(labels)} labels in its {part} files. "
                "Delete the folder and run `make data-mnist`."
            )
        images = resized(images[:, None], image_size)
        parts.append(Labelled(images.repeat(1, channels, 1, 1), labels.long()))
    return parts[0], parts[1]


def _plain_or_gzipped(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _idx(path: Path) -> Tensor:
    """The bytes of an IDX file (two zeros, type code, number of axes, big-endian sides, then the data) in its shape."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read()
    except (OSError, EOFError) as error:
        raise UserError(f"cannot read {path} ({error}). Delete it and run `make data-mnist`.") from error
    axes = 3 if "idx3" in path.name else 1
    header = 4 + 4 * axes
    shape = [int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4)]
    if content[:4] != bytes((0, 0, UNSIGNED_BYTE, axes)) or len(content) != header + math.prod(shape):
        raise UserError(
            f"{path} is damaged: its {len(content)} bytes are not an IDX file of unsigned bytes with {axes} axes. "
            "Delete it and run `make data-mnist`."
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)
