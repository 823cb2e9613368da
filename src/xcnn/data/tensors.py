"""Small data sets held in memory as tensors, so that training is not bound by loading.

A batch is one `index_select` on bytes and one scaling to float: no worker processes, no per-image Python. The order of
an epoch depends on (seed, epoch) alone, not on how many epochs ran in this process, so that a resumed training sees the
batches that an uninterrupted one would have seen; under DDP each rank takes its slice of every global batch.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler
from torchvision.transforms.v2 import functional

from xcnn.data.pictures import Pictures, PictureTensors
from xcnn.errors import UserError


@dataclass(frozen=True)
class Labelled:
    """Images (N, C, H, W) uint8 with labels (N,) int64, and masks (N, H, W) uint8 where the data set has them.

    Or features (N, K, h, w) of floats in the images' place (`xcnn.training.FeatureData`).
    """

    images: Tensor
    labels: Tensor
    masks: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Labelled":
        return Labelled(
            self.images[indices], self.labels[indices], {name: mask[indices] for name, mask in self.masks.items()}
        )


def checked_side(image_size: int) -> int:
    """A side in pixels.

    Raises:
        UserError: below 1.
    """
    if image_size < 1:
        raise UserError(f"image_size must be a positive number of pixels, not {image_size}.")
    return image_size


def resized(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) at a side in pixels (bilinear, antialiased), or themselves where they have it."""
    if images.shape[-2:] == (side, side):
        return images
    return functional.resize(images, [side, side], antialias=True)


def scale(images: Tensor) -> Tensor:
    """Bytes (..., C, H, W) to float32 in [0, 1]."""
    return images.to(torch.float32, copy=True).div_(255)


class Batches(Dataset[tuple[Tensor, ...]]):
    """A data set whose item is a whole batch: indexed by a tensor of indices, it gives (images in [0, 1], labels).

    Where the images are floats, such as a trunk's features, they are given as they are, in float32.

    Args:
        mask: name of masks that are given as well, third.
    """

    def __init__(self, data: Labelled, mask: str | None = None):
        self.data, self.mask = data, mask

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, ...]:
        images = self.data.images.index_select(0, indices)
        images = images.float() if images.is_floating_point() else scale(images)
        masks = [] if self.mask is None else [self.data.masks[self.mask].index_select(0, indices)]
        return images, self.data.labels.index_select(0, indices), *masks


class EpochOrder(DistributedSampler[Tensor]):
    """Tensors of indices, one per batch, shuffled by (seed, epoch) or in file order; each global batch cut by rank.

    Every rank gets equally many batches, none of them empty. In a shuffled epoch the ranks' shares are equal too,
    because DDP averages their gradients as equals; a last batch that does not divide loses the remainder, fewer images
    than there are processes, which another epoch shows. So does one that has an image for each process, with which
    BatchNorm could not train. In file order every image comes exactly once, so shares differ
    by up to one image, and a last batch with fewer images than processes joins the one before it.

    It is a `DistributedSampler` so that Lightning leaves it in place under DDP.

    Args:
        n: number of images.
        batch_size: global batch size, over all processes.
        shuffle: draw a new order each epoch; otherwise file order.
        seed: of the orders.
        rank: of this process, in 0..world_size - 1.
        world_size: number of processes.

    Raises:
        UserError: the batch or the data set does not divide over the processes.
    """

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1):
        if batch_size < world_size or (shuffle and batch_size % world_size):
            raise UserError(
                f"batch_size is {batch_size}; it is the global one, so give a multiple of the {world_size} processes."
            )
        if n < world_size:
            raise UserError(f"{n} images do not go round {world_size} processes: use fewer processes or more images.")
        super().__init__(range(n), world_size, rank, shuffle, seed)  # type: ignore[arg-type]  # only its length is read
        self.n, self.batch_size, self.world_size = n, batch_size, world_size

    def _bounds(self) -> list[tuple[int, int]]:
        """This rank's share [low, high) of each global batch, in places of the epoch's order."""
        edges = [*range(0, self.n, self.batch_size), self.n]
        fewest = 2 * self.world_size if self.shuffle and self.batch_size > self.world_size else self.world_size
        if self.n - edges[-2] < fewest and len(edges) > 2:
            edges.pop(-1 if self.shuffle else -2)
        if self.shuffle:
            edges[-1] -= (edges[-1] - edges[-2]) % self.world_size
        return [
            (
                start + self.rank * (stop - start) // self.world_size,
                start + (self.rank + 1) * (stop - start) // self.world_size,
            )
            for start, stop in pairwise(edges)
        ]

    def __len__(self) -> int:
        return len(self._bounds())

    def __iter__(self) -> Iterator[Tensor]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.n, generator=generator)
        else:
            order = torch.arange(self.n)
        for low, high in self._bounds():
            yield order[low:high]


class TensorDataModule(LightningDataModule):
    """A data set held as tensors; a subclass gives `name` and `load`.

    After `setup()`, `train`, `val` and `test` are `Labelled`, and `pictures` are those of `test`, to be explained, with
    the boxes of their masks of objects where there are any. `val` is cut from the training images, never from the
    test images; with `val_share=0` it is empty and Lightning runs no validation.

    Args:
        root: the data root (`XCNN_DATA`); the data set is looked for below it, in its usual layout.
        batch_size: global batch size, over all processes.
        val_share: share of the training images held out for selection, in [0, 1).
        seed: of the held-out draw and of the order of the epochs.
        train_size: keep this many training images, drawn by seed; None keeps all.
        test_size: likewise for the test images.
    """

    name: str = "unnamed"

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ):
        super().__init__()
        if not 0 <= val_share < 1:
            raise UserError(f"val_share must be in [0, 1), not {val_share}.")
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {batch_size}.")
        self.root, self.batch_size, self.val_share, self.seed = Path(root), batch_size, val_share, seed
        self.train_size, self.test_size = train_size, test_size
        self.classes: tuple[str, ...] = ()
        self.manifest = ""
        self._loaded = False

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        """Training images, test images, class names. Raises UserError saying what is missing, where, and the remedy."""
        raise NotImplementedError

    def setup(self, stage: str = "") -> None:
        """Load once; later calls (Lightning makes several) do nothing."""
        if self._loaded:
            return
        train, test, self.classes = self.load()
        self.manifest = manifest_hash(train, test, self.classes)
        test = drawn(test, self.test_size, self.seed, "test_size")
        train = drawn(train, self.train_size, self.seed, "train_size")
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(train), generator=generator)
        n_val = round(self.val_share * len(train))
        if n_val == len(train) or (self.val_share and not n_val):
            raise UserError(
                f"val_share {self.val_share} of {len(train)} training images leaves no image to "
                f"{'train on' if n_val else 'validate on'}: change val_share or train_size."
            )
        self.val = train.subset(order[:n_val].sort().values)
        self.train = train.subset(order[n_val:].sort().values) if n_val else train
        self.test = test
        ids = [f"test-{place:05d}" for place in range(len(test))]
        self.pictures: Pictures = PictureTensors(test.images, test.labels, _boxes(test), ids)
        self._loaded = True

    @property
    def input_size(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def loader(
        self, data: Labelled, shuffle: bool = False, batch_size: int | None = None, mask: str | None = None
    ) -> DataLoader:
        """Batches of `data`, on this process's share of them when a distributed trainer is attached; see `Batches`."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = EpochOrder(len(data), batch_size or self.batch_size, shuffle, self.seed, rank, world_size)
        pin = torch.cuda.is_available()
        return DataLoader(Batches(data, mask), sampler=order, batch_size=None, pin_memory=pin)

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.loader(self.val, batch_size=512) if len(self.val) else []

    def test_dataloader(self) -> DataLoader:
        return self.loader(self.test, batch_size=512)


def _boxes(data: Labelled) -> list[Tensor]:
    """The box around each image's mask of objects, (1, 4) as in `pictures`; (0, 4) where there is none."""
    masks = data.masks.get("object")
    if masks is None:
        return [torch.empty(0, 4)] * len(data)
    places = [mask.nonzero() for mask in masks]  # (m, 2): row, column
    return [
        torch.cat([p.amin(0).flip(0), p.amax(0).flip(0) + 1]).float()[None] if len(p) else torch.empty(0, 4)
        for p in places
    ]


def drawn(data: Labelled, size: int | None, seed: int, option: str) -> Labelled:
    """`size` images of `data`, drawn by `seed`, in file order; all for None."""
    if size is None:
        return data
    if not 0 < size <= len(data):
        raise UserError(f"{option} is {size}, but there are {len(data)} images: give 1..{len(data)}, or null for all.")
    generator = torch.Generator().manual_seed(seed)
    return data.subset(torch.randperm(len(data), generator=generator)[:size].sort().values)


def manifest_hash(train: Labelled, test: Labelled, classes: tuple[str, ...]) -> str:
    """Which data this was: the first 16 hexadecimal digits of SHA-256 over class names, images, labels and masks."""
    digest = hashlib.sha256("\n".join(classes).encode())
    for part in (train, test):
        for values in (part.images, part.labels, *part.masks.values()):
            digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()[:16]
