"""STL10: 5,000 training and 8,000 test images of 96 x 96 in ten classes.

Looked for below the data root in torchvision's layout, `stl10_binary/`: `train_X.bin` and `test_X.bin` hold the images
one after the other, each a byte per channel, column and row (columns first), `train_y.bin` and `test_y.bin` a byte per
label, from 1, and `class_names.txt` a name per line. The unlabelled images are not used and need not be there.

The pictures were drawn from ImageNet: a network with ImageNet weights has probably seen training and test images alike.
"""

from functools import lru_cache
from pathlib import Path

import torch

from xcnn.data.tensors import Labelled, TensorDataModule, checked_side, resized
from xcnn.errors import Missing, UserError

SIDE = 96
N_CLASSES = 10
FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")


class STL10(TensorDataModule):
    """STL10 in torchvision's layout; see `TensorDataModule` for the other arguments.

    Args:
        image_size: side in pixels; images of another size than 96 are resized (bilinear, antialiased).
    """

    name = "STL10"

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
        image_size: int = SIDE,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        self.image_size = checked_side(image_size)

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        return _read(self.root.resolve(), self.image_size)


@lru_cache(maxsize=1)
def _read(root: Path, image_size: int) -> tuple[Labelled, Labelled, tuple[str, ...]]:
    """Training and test images and class names; the tensors are shared between calls, so nobody writes to them."""
    folder = root / "stl10_binary"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise Missing(
            f"STL10 is {'not there' if len(missing) == len(FILES) else 'incomplete'}: looked in {folder} for "
            f"{', '.join(missing)}. Run `make data-stl10`, or set XCNN_DATA to the folder above stl10_binary."
        )
    classes = tuple(_bytes(folder / "class_names.txt").decode(errors="replace").split())
    if len(set(classes)) != N_CLASSES:
        raise UserError(
            f"{folder / 'class_names.txt'} does not name {N_CLASSES} classes, but: {', '.join(classes)}. "
            "Delete the folder and run `make data-stl10`."
        )
    return _part(folder, "train", image_size), _part(folder, "test", image_size), classes


def _part(folder: Path, part: str, image_size: int) -> Labelled:
    content, labels = (_bytes(folder / f"{part}_{kind}.bin") for kind in "Xy")
    size = 3 * SIDE * SIDE
    if not labels or len(content) != len(labels) * size or not set(labels) <= set(range(1, N_CLASSES + 1)):
        raise UserError(
            f"{folder / f'{part}_X.bin'} ({len(content):,} bytes) or {part}_y.bin ({len(labels):,}) is cut or damaged: "
            f"there must be {size:,} bytes of image for each label, and labels 1..{N_CLASSES}. "
            "Delete the folder and run `make data-stl10`."
        )
    images = torch.frombuffer(content, dtype=torch.uint8).reshape(-1, 3, SIDE, SIDE).mT.contiguous()
    return Labelled(resized(images, image_size), torch.frombuffer(labels, dtype=torch.uint8).long() - 1)


def _bytes(path: Path) -> bytearray:
    try:
        return bytearray(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}). Delete it and run `make data-stl10`.") from error
