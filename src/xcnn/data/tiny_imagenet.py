"""Tiny ImageNet: 200 ImageNet classes at 64 x 64, with 500 training and 50 validation images each, one box per image.

Looked for below the data root as distributed: `tiny-imagenet-200/` with `wnids.txt`, `words.txt`,
`train/<wnid>/images/*.JPEG` and `val/images/` with `val/val_annotations.txt`. Its test images have no labels, so the
validation images are the test part here, and a held-out share for selection comes from the training images.

The pictures were drawn from ImageNet's own: a network with ImageNet weights has probably seen training and validation
images alike.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from xcnn.data.decode import decode
from xcnn.data.pictures import Pictures, PictureTensors
from xcnn.data.synsets import class_names
from xcnn.data.tensors import Labelled, TensorDataModule, drawn
from xcnn.errors import UserError

SIDE = 64
N_CLASSES = 200
REMEDY = (
    "Run `make data-tiny-imagenet`, or fetch and unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip below the "
    "data root (XCNN_DATA)."
)


class TinyImageNet(TensorDataModule):
    """Tiny ImageNet or some of its classes; see `TensorDataModule` for the other arguments.

    After `setup()`, `pictures` are the test images with their boxes, and `wnids` are the classes' WordNet
    ids, sorted: class i is `wnids[i]`, and `classes[i]` its name.

    Args:
        wnids: the classes to keep, in any order; None keeps those that `wnids.txt` lists.
        image_size: side in pixels, reached by area averaging at loading; None keeps 64.
    """

    name = "Tiny ImageNet"

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
        wnids: Sequence[str] | None = None,
        image_size: int | None = None,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        if image_size is not None and image_size < 1:
            raise UserError(f"image_size must be a positive number of pixels or null, not {image_size}.")
        if wnids is not None and (not wnids or len(set(wnids)) < len(wnids)):
            raise UserError("wnids must name at least one class, and each once; null takes all.")
        self.wnids: tuple[str, ...] | None = None if wnids is None else tuple(sorted(wnids))
        self.image_size = image_size

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        tree = _read(self.root.resolve(), self.wnids, self.image_size)
        self.wnids = tree.wnids
        self.name = "Tiny ImageNet" + (f" ({n} of {N_CLASSES} classes)" if (n := len(tree.wnids)) < N_CLASSES else "")
        return tree.train, tree.val, tree.classes

    def setup(self, stage: str = "") -> None:
        """Load once; `pictures` are the images of `test`, and the manifest covers their boxes too."""
        if self._loaded:
            return
        super().setup(stage)
        tree = _read(self.root.resolve(), self.wnids, self.image_size)
        self.manifest = hashlib.sha256(self.manifest.encode() + tree.boxes.numpy().tobytes()).hexdigest()[:16]
        places = Labelled(torch.arange(len(tree.ids)), tree.val.labels)
        kept = drawn(places, self.test_size, self.seed, "test_size").images.tolist()
        self.pictures: Pictures = PictureTensors(
            self.test.images, self.test.labels, [tree.boxes[k : k + 1] for k in kept], [tree.ids[k] for k in kept]
        )


class _Tree(NamedTuple):
    wnids: tuple[str, ...]
    classes: tuple[str, ...]
    train: Labelled
    val: Labelled
    ids: tuple[str, ...]  # of the validation images: their file names without ending
    boxes: Tensor  # (N, 4) float32 of the validation images: x0, y0, x1, y1 in pixels, x1 and y1 exclusive


@lru_cache(maxsize=1)
def _read(root: Path, wnids: tuple[str, ...] | None, image_size: int | None) -> _Tree:
    """The whole tree, decoded once per process; its data modules share the tensors and none writes to them."""
    folder = root / "tiny-imagenet-200"
    if not folder.is_dir():
        raise UserError(f"Tiny ImageNet is not there: looked for {folder}. {REMEDY}")
    wnids = wnids or tuple(sorted(_text(folder / "wnids.txt").split()))
    words = dict(line.split("\t", 1) for line in _text(folder / "words.txt").splitlines() if "\t" in line)
    train = [sorted((folder / "train" / wnid / "images").glob("*.JPEG")) for wnid in wnids]
    val = _annotations(folder / "val" / "val_annotations.txt", wnids)
    annotated = {label for _, label, _ in val}
    missing = [wnid for label, wnid in enumerate(wnids) if not train[label] or label not in annotated]
    if missing:
        there = sorted(path.parent.name for path in folder.glob("train/*/images"))
        raise UserError(
            f"{folder} has no images in train/ or val/ of {len(missing)} of the {len(wnids)} classes: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. "
            f"Choose classes that are there with data.wnids (train/ holds "
            f"{len(there)}: {', '.join(there[:3])}, ...), or complete the tree. {REMEDY}"
        )
    size, resized = (SIDE, SIDE), None if image_size in (None, SIDE) else (image_size, image_size)
    train_paths = [path for members in train for path in members]
    train_labels = torch.tensor([label for label, members in enumerate(train) for _ in members])
    return _Tree(
        wnids,
        class_names(wnids, words),
        Labelled(torch.from_numpy(decode(train_paths, size, resized)), train_labels),
        Labelled(
            torch.from_numpy(decode([folder / "val" / "images" / name for name, _, _ in val], size, resized)),
            torch.tensor([label for _, label, _ in val]),
        ),
        tuple(Path(name).stem for name, _, _ in val),
        torch.tensor([box for _, _, box in val]) * ((image_size or SIDE) / SIDE),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Tiny ImageNet is incomplete: cannot read {path} ({error.strerror}). {REMEDY}") from error


def _annotations(path: Path, wnids: tuple[str, ...]) -> list[tuple[str, int, list[float]]]:
    """File name, label and box of the validation images of these classes, in file order."""
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            name, wnid, *corners = line.split()
            x0, y0, x1, y1 = map(int, corners)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {line!r} is not 'file wnid x0 y0 x1 y1'. {REMEDY}") from error
        if wnid in labels:
            # The file gives the first and the last pixel inside: boxes of the whole picture read 0 0 63 63.
            found.append((name, labels[wnid], [x0, y0, x1 + 1.0, y1 + 1.0]))
    return found
