"""Problems of few classes, made of other data sets: some of the classes, or whether there is an object at all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from xcnn.data.shapes import Shapes, draw
from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import UserError


class ChosenClasses(TensorDataModule):
    """Some classes of a data set; see `TensorDataModule` for the other arguments.

    Args:
        source: makes the data set from its root, e.g. `functools.partial(MNIST, channels=3)`.
        labels: names of its classes to keep, at least two; they become classes 0, 1, ... in this order.
    """

    def __init__(
        self,
        source: Callable[..., TensorDataModule],
        labels: Sequence[str],
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise UserError(f"labels must name at least two classes, each once, not {', '.join(map(str, labels))}.")
        self.source, self.labels = source, tuple(str(label) for label in labels)

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        data = self.source(root=self.root)
        train, test, classes = data.load()
        if unknown := [label for label in self.labels if label not in classes]:
            raise UserError(f"{data.name} has no class {', '.join(unknown)}; there are: {', '.join(classes)}.")
        self.name = f"{data.name}, {' and '.join(self.labels)}"
        places = [classes.index(label) for label in self.labels]
        return _kept(train, places), _kept(test, places), self.labels


class ShapesPresence(Shapes):
    """Drawn scenes with an object (class 1), and others without (class 0): ten of each in turn; see `Shapes`."""

    name = "shapes, with and without"

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        train = _half_empty(draw(self.n_train, self.size, self.draw_seed, "train"),
                            draw(self.n_train, self.size, self.draw_seed, "train", objects=False))  # fmt: skip
        test = _half_empty(draw(self.n_test, self.size, self.draw_seed, "test"),
                           draw(self.n_test, self.size, self.draw_seed, "test", objects=False))  # fmt: skip
        return train, test, ("no object", "object")


def _kept(data: Labelled, places: Sequence[int]) -> Labelled:
    """The images of some classes, labelled by the place of the class among them."""
    new = torch.full((int(data.labels.max()) + 1,), -1)
    new[places] = torch.arange(len(places))
    labels = new[data.labels]
    kept = data.subset(torch.nonzero(labels >= 0).flatten())
    return Labelled(kept.images, labels[labels >= 0], kept.masks)


def _half_empty(whole: Labelled, empty: Labelled) -> Labelled:
    """Ten images of `whole`, ten of `empty`, and so on; masks are empty where there is no object."""
    present = torch.arange(len(whole)) // 10 % 2 == 0
    images = torch.where(present[:, None, None, None], whole.images, empty.images)
    masks = {name: mask * present[:, None, None].to(mask.dtype) for name, mask in whole.masks.items()}
    return Labelled(images, present.long(), masks)
