"""CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 in ten classes.

Looked for below the data root as torchvision's `cifar-10-batches-py/`, then as an image-folder tree
`cifar10/{train,test}/<class>/*` (PNG or JPEG; a JPEG tree is named "CIFAR-10 (JPEG)" in results, because its accuracies
differ slightly from those of the lossless set).
"""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets

from xcnn.data.decode import decode
from xcnn.data.tensors import Labelled, TensorDataModule, checked_side, resized
from xcnn.errors import Missing, UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
IMAGE_ENDINGS = {".png", ".jpg", ".jpeg"}


class CIFAR10(TensorDataModule):
    """CIFAR-10 in torchvision's layout or as an image-folder tree; see `TensorDataModule` for the other arguments.

    Args:
        image_size: side in pixels; images of another size than 32 are resized (bilinear, antialiased).
    """

    name = "CIFAR-10"

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
        train, test, self.name = _read(self.root.resolve())
        if self.image_size != SIDE:
            self.name += f", {self.image_size} px"
            train, test = (Labelled(resized(part.images, self.image_size), part.labels) for part in (train, test))
        return train, test, CLASSES


@lru_cache(maxsize=1)
def _read(root: Path) -> tuple[Labelled, Labelled, str]:
    """Training and test images, and the name for results.

    Decoding the tree takes some 10 s, so a process does it once; its data modules share the tensors and none writes to
    them.
    """
    batches, tree = root / "cifar-10-batches-py", root / "cifar10"
    if batches.is_dir():
        return _batches(root, train=True), _batches(root, train=False), "CIFAR-10"
    if tree.is_dir():
        train, test = (image_folder(tree / part, CLASSES, (SIDE, SIDE)) for part in ("train", "test"))
        jpeg = any(path.suffix.lower() in (".jpg", ".jpeg") for path in tree.glob("*/*/*"))
        return train, test, "CIFAR-10 (JPEG)" if jpeg else "CIFAR-10"
    raise Missing(
        f"CIFAR-10 is not there: looked for {batches} and {tree}. "
        "Run `make data-cifar10`, or set XCNN_DATA to the folder that holds one of them."
    )


def _batches(root: Path, train: bool) -> Labelled:
    folder = root / "cifar-10-batches-py"
    kind = datasets.CIFAR10  # wants the files of both parts, whichever it reads
    names = [name for name, _ in (*kind.train_list, *kind.test_list)] + [kind.meta["filename"]]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise Missing(f"{folder} is incomplete: it lacks {', '.join(missing)}. Delete it and run `make data-cifar10`.")
    try:
        data = kind(root, train=train, download=False)
    except RuntimeError as error:
        raise UserError(f"{folder} is damaged ({error}). Delete it and run `make data-cifar10`.") from error
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Labelled(images, torch.tensor(data.targets))


def image_folder(folder: Path, classes: tuple[str, ...], size: tuple[int, int]) -> Labelled:
    """A tree `folder/<class>/*` of equally sized images as tensors, files in name order within each class.

    Raises:
        Missing: a class folder is missing or empty.
        UserError: an image cannot be read or has another size (named).
    """
    paths, labels = list_image_folder(folder, classes)
    return Labelled(torch.from_numpy(decode(paths, size)), labels)


def list_image_folder(folder: Path, classes: tuple[str, ...]) -> tuple[list[Path], Tensor]:
    """Paths and labels (N,) of a tree `folder/<class>/*`, class by class, in name order within each; none is opened.

    Raises:
        Missing: a class folder is missing or empty.
    """
    missing = [name for name in classes if not (folder / name).is_dir()]
    if missing:
        raise Missing(
            f"{folder} lacks the class folder{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
            f"(expected: {', '.join(classes)}). Complete the tree, or delete it and fetch the data set again."
        )
    files = [
        sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in IMAGE_ENDINGS) for name in classes
    ]
    empty = [name for name, members in zip(classes, files, strict=True) if not members]
    if empty:
        raise Missing(f"{folder} has no images (.png, .jpg, .jpeg) of {', '.join(empty)}. Fetch the data set again.")
    labels = torch.tensor([label for label, members in enumerate(files) for _ in members])
    return [path for members in files for path in members], labels
