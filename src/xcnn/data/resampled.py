"""A bootstrap resample of a data set's training images, as a data set."""

from collections.abc import Callable
from pathlib import Path

import torch

from xcnn.data.tensors import Labelled, TensorDataModule


class Resampled(TensorDataModule):
    """A data set whose training images are drawn from its own with replacement, as many; see `TensorDataModule`.

    Args:
        source: makes the data set from its root, e.g. `functools.partial(MNIST, channels=3)`.
        draw: random seed of the resample; None takes each image once.
    """

    def __init__(
        self,
        source: Callable[..., TensorDataModule],
        draw: int | None = None,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        self.source, self.draw = source, draw

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        data = self.source(root=self.root)
        train, test, classes = data.load()
        self.name = data.name
        if self.draw is not None:
            generator = torch.Generator().manual_seed(self.draw)
            train = train.subset(torch.randint(len(train), (len(train),), generator=generator).sort().values)
        return train, test, classes
