"""A planted shortcut: a mark on training images of one class, which betrays it as a photographer's tag may."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from xcnn.data.pictures import PictureTensors
from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import UserError

Shown = Literal["without", "with", "moved"]
Place = tuple[int, int]  # row and column of the upper left pixel


class PlantedMark(TensorDataModule):
    """A data set with a square of one colour on a share of one class's training images; see `TensorDataModule`.

    Training images have the masks `mark`, the pixels of the mark, and `elsewhere`, a square of that size at `moved_to`
    on the same images; both are empty for an image without a mark. Test images have the mark as `shown` says, and
    `tested` gives them with it, without it and with the mark moved. The manifest is that of the test images without it,
    so that a network is the same whatever it is tested on.

    Args:
        source: makes the data set from its root, e.g. `functools.partial(MNIST, channels=3)`.
        label: name of the class whose training images have the mark.
        probability: share of these images that have it, in [0, 1].
        side: of the square, in pixels.
        place: row and column of its upper left pixel, in training and where it is not moved.
        moved_to: likewise, of test images with the mark moved; the squares at both places must not overlap.
        colour: of the square, a byte for each channel.
        shown: which test images `test` and `pictures` are.
        mark_seed: random seed of which images have the mark; those of a smaller share are among those of a larger one.
    """

    def __init__(
        self,
        source: Callable[..., TensorDataModule],
        label: str,
        probability: float,
        side: int,
        place: Sequence[int],
        moved_to: Sequence[int],
        colour: Sequence[int],
        shown: Shown = "without",
        mark_seed: int = 0,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        if not 0 <= probability <= 1:
            raise UserError(f"probability is a share of the class's images: choose it in [0, 1], not {probability}.")
        if shown not in get_args(Shown):
            raise UserError(f"shown must be one of {', '.join(get_args(Shown))}, not {shown!r}.")
        self.place, self.moved_to = _place(place), _place(moved_to)
        if side < 1 or all(abs(a - b) < side for a, b in zip(self.place, self.moved_to, strict=True)):
            raise UserError(
                f"a mark with a side of {side} px at {list(self.place)} overlaps itself at {list(self.moved_to)}: give "
                "a side of at least 1 and places that far apart."
            )
        self.source, self.label, self.probability, self.side = source, str(label), probability, side
        self.colour, self.shown, self.mark_seed = tuple(colour), shown, mark_seed

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        data = self.source(root=self.root)
        train, test, classes = data.load()
        if self.label not in classes:
            raise UserError(f"{data.name} has no class {self.label}; there are: {', '.join(classes)}.")
        self.name = f"{data.name}, marked"
        marked = self._marked(train.labels == classes.index(self.label))
        masks = {"mark": self._mask(train, marked, self.place), "elsewhere": self._mask(train, marked, self.moved_to)}
        images = self._painted(train.images, masks["mark"])
        return Labelled(images, train.labels, train.masks | masks), test, classes

    def setup(self, stage: str = "") -> None:
        if self._loaded:
            return
        super().setup(stage)
        assert isinstance(self.pictures, PictureTensors)
        self._unmarked = self.test
        self.test = self.tested(self.shown)
        self.pictures = PictureTensors(self.test.images, self.test.labels, self.pictures.boxes, self.pictures.ids)

    @property
    def target(self) -> int:
        """Index of the class that the mark betrays."""
        return self.classes.index(self.label)

    def tested(self, shown: Shown) -> Labelled:
        """All test images without the mark, with it, or with it moved; `masks["mark"]` is where it is, or would be."""
        everywhere = torch.ones(len(self._unmarked), dtype=torch.bool)
        mask = self._mask(self._unmarked, everywhere, self.moved_to if shown == "moved" else self.place)
        images = self._unmarked.images
        if shown != "without":
            images = self._painted(images, mask)
        return Labelled(images, self._unmarked.labels, self._unmarked.masks | {"mark": mask})

    def _marked(self, members: Tensor) -> Tensor:
        """Which images have the mark, (N,) bool: the first of the class's images in an order drawn by the seed."""
        places = members.nonzero().flatten()
        order = torch.randperm(len(places), generator=torch.Generator().manual_seed(self.mark_seed))
        chosen = torch.zeros_like(members)
        chosen[places[order[: round(self.probability * len(places))]]] = True
        return chosen

    def _mask(self, data: Labelled, marked: Tensor, place: Place) -> Tensor:
        """The square's pixels on marked images: (N, H, W) uint8."""
        height, width = data.images.shape[2:]
        ends = [start + self.side for start in place]
        if min(place) < 0 or ends[0] > height or ends[1] > width:
            raise UserError(
                f"a mark with a side of {self.side} px at {list(place)} leaves the images of {height} x {width} px: "
                "choose place and moved_to within them."
            )
        mask = torch.zeros(len(data), height, width, dtype=torch.uint8)
        mask[marked, place[0] : ends[0], place[1] : ends[1]] = 1
        return mask

    def _painted(self, images: Tensor, mask: Tensor) -> Tensor:
        channels = images.shape[1]
        if len(self.colour) != channels or not all(0 <= value <= 255 for value in self.colour):
            raise UserError(f"colour needs a byte for each of {channels} channels, not {list(self.colour)}.")
        colour = torch.tensor(self.colour, dtype=torch.uint8)[None, :, None, None]
        return torch.where(mask[:, None] > 0, colour, images)


def planted_mark(data: object) -> PlantedMark:
    """The data set, which must have a planted mark.

    Raises:
        UserError: it has none.
    """
    if not isinstance(data, PlantedMark):
        name = getattr(data, "name", type(data).__name__)
        raise UserError(f"{name} has no planted mark: choose one that has, such as data=shapes_marked.")
    return data


def _place(place: Sequence[int]) -> Place:
    if len(place) != 2:
        raise UserError(f"a place is a row and a column, not {list(place)}.")
    return int(place[0]), int(place[1])
