"""Imagenette: ten classes of ImageNet that are easily told apart, 9,469 training and 3,925 validation photographs.

Looked for below the data root as an image-folder tree `imagenette/{train,val}/<wnid>/*`, then as fast.ai distributes
it: `imagenette2/`, `imagenette2-320/` or `imagenette2-160/`, likewise with `train/` and `val/`. There are no further
images to test on, so the validation images are the test part here, and a held-out share for selection comes from the
training images.

The pictures are ImageNet's own: a network with ImageNet weights has probably seen training and validation images alike.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from xcnn.data.cifar10 import list_image_folder
from xcnn.data.decode import decode
from xcnn.data.pictures import PictureTensors
from xcnn.data.tensors import Labelled, TensorDataModule, checked_side, drawn
from xcnn.errors import Missing

CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
WHOLE = (9469, 3925)  # images to train on and to validate with, as distributed
FETCHED = "imagenette2-320"
FOLDERS = ("imagenette", "imagenette2", FETCHED, "imagenette2-160")
URL = f"https://s3.amazonaws.com/fast-ai-imageclas/{FETCHED}.tgz"
REMEDY = f"Run `make data-imagenette`, or fetch {URL} and unpack it below the data root (XCNN_DATA)."


class Imagenette(TensorDataModule):
    """Imagenette or a tree of some of its images; see `TensorDataModule` for the other arguments.

    Images are resized to a square (bilinear, antialiased, by PIL), whatever their aspect. After `setup()`, `pictures`
    are the validation images, under the names of their files.

    Args:
        image_size: side in pixels.
    """

    name = "Imagenette"

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
        image_size: int = 224,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        self.image_size = checked_side(image_size)

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        self._tree = _read(self.root.resolve(), self.image_size)
        self.name = title(len(self._tree.train), len(self._tree.val), self.image_size)
        return self._tree.train, self._tree.val, tuple(CLASSES.values())

    def setup(self, stage: str = "") -> None:
        """Load once; `pictures` are the images of `test`."""
        if self._loaded:
            return
        super().setup(stage)
        places = Labelled(torch.arange(len(self._tree.ids)), self._tree.val.labels)
        ids = [self._tree.ids[place] for place in drawn(places, self.test_size, self.seed, "test_size").images]
        self.pictures = PictureTensors(self.test.images, self.test.labels, [torch.empty(0, 4)] * len(ids), ids)


def title(n_train: int, n_val: int, image_size: int | None = None) -> str:
    """The name for results of a tree with so many images, read at this side in pixels."""
    part = "" if (n_train, n_val) == WHOLE else f" ({n_train:,} of {WHOLE[0]:,} training images)"
    return Imagenette.name + (f", {image_size} px" if image_size else "") + part


class _Tree(NamedTuple):
    train: Labelled
    val: Labelled
    ids: tuple[str, ...]  # of the validation images: their file names without ending


@lru_cache(maxsize=1)
def _read(root: Path, image_size: int) -> _Tree:
    """The whole tree, decoded once per process; its data modules share the tensors and none writes to them."""
    listed = list_images(root)
    train, val = (
        Labelled(torch.from_numpy(decode(paths, None, (image_size, image_size), Image.Resampling.BILINEAR)), labels)
        for paths, labels in listed
    )
    return _Tree(train, val, tuple(path.stem for path in listed[1][0]))


def list_images(root: Path) -> list[tuple[list[Path], torch.Tensor]]:
    """Paths and labels of the training and of the validation images, class by class, without opening any.

    Raises:
        Missing: there is no tree, or a class of it has no folder or no image.
    """
    folders = [root / name for name in FOLDERS]
    there = next((folder for folder in folders if folder.is_dir()), None)
    if there is None:
        raise Missing(f"Imagenette is not there: looked below {root} for {', '.join(FOLDERS)}. {REMEDY}")
    return [list_image_folder(there / part, tuple(CLASSES)) for part in ("train", "val")]
