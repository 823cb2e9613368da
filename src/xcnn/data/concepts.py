"""Images of concepts, of chance, and of the classes that are asked whether they depend on a concept.

A maker of concept sets takes a data set and gives `ConceptSets`: `PartConcepts` from the drawn scenes of `shapes`, in
which it is known what belongs to a class, `MarkConcepts` from a planted mark, `FolderConcepts` from folders of images.
One of your own is a function or class like these, named in a file of `conf/concepts/`.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xcnn.data.imagenet import IMAGE_ENDINGS, ImageNetVal
from xcnn.data.pictures import PictureFiles, Pictures
from xcnn.data.planted_mark import Shown, planted_mark
from xcnn.data.shapes import CLASSES, PARTS, draw
from xcnn.data.tensors import TensorDataModule
from xcnn.errors import Missing, UserError

Data = TensorDataModule | ImageNetVal
COLOURS = ("red", "green", "blue")
PARTS_SEED = 7001  # of scenes that no data set of a small seed has


@dataclass(frozen=True)
class ConceptSets:
    """Images (n, C, H, W) uint8, all of one size.

    Attributes:
        concepts: images of each concept.
        pool: images of chance, of which random concepts are drawn.
        classes: images of each class, by its name in the data set.
        truth: of each concept the classes that have it, where that is known; no entry where it is not.
        relative: groups of concepts, each of which is compared with the others of its group.
    """

    concepts: Mapping[str, Tensor]
    pool: Tensor
    classes: Mapping[str, Tensor]
    truth: Mapping[str, Sequence[str]] = field(default_factory=dict)
    relative: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        unknown = [name for group in self.relative for name in group if name not in self.concepts]
        if unknown:
            raise UserError(f"there is no concept {unknown[0]!r} to compare; there are: {', '.join(self.concepts)}.")
        for name, images in self.classes.items():
            if not len(images):
                raise UserError(f"there is no image of class {name!r}: leave the class out, or give images of it.")

    @cached_property
    def manifest(self) -> str:
        """The first 16 hexadecimal digits of SHA-256 over names and images."""
        digest = hashlib.sha256()
        for name, images in (*self.concepts.items(), ("pool", self.pool), *self.classes.items()):
            digest.update(f"{name} {tuple(images.shape)}\n".encode())
            digest.update(images.contiguous().numpy().data)
        return digest.hexdigest()[:16]


class PartConcepts:
    """Concepts of `shapes`: single parts on their backgrounds, which some classes have, and colours, which none has.

    A concept of a part is of scenes whose object is drawn no further than by that part; the images of chance show one
    part at random. A colour's are those of such images whose part has most of it. All scenes are drawn anew, none of
    the data set's own. Classes have the data set's test images.

    Args:
        parts: names of parts.
        colours: among red, green and blue.
        n_scenes: number of scenes of each half, that of the concepts and that of chance.
        colour_share: share of the images that have most of a colour.
        class_size: test images of a class, at most.
        relative: groups of concepts to compare with each other.

    Raises:
        UserError: an unknown part or colour; when called, data other than `shapes`.
    """

    def __init__(
        self,
        parts: Sequence[str],
        colours: Sequence[str] = COLOURS,
        n_scenes: int = 1000,
        colour_share: float = 0.1,
        class_size: int = 100,
        relative: Sequence[Sequence[str]] = (),
    ):
        for known, given in ((PARTS, parts), (COLOURS, colours)):
            if missing := [name for name in given if name not in known]:
                raise UserError(f"shapes has no {missing[0]!r}; there are: {', '.join(known)}.")
        self.parts, self.colours, self.n_scenes, self.colour_share = parts, colours, n_scenes, colour_share
        self.class_size, self.relative = class_size, relative

    def __call__(self, data: Data) -> ConceptSets:
        if tuple(data.classes) != CLASSES or not isinstance(data, TensorDataModule):
            raise UserError(f"concepts of parts are drawn for the data set shapes, not for {data.name}.")
        side = data.test.images.shape[-1]
        whole, empty = (draw(2 * self.n_scenes, side, PARTS_SEED, "test", objects) for objects in (True, False))
        masks = whole.masks["parts"]

        def alone(places: Tensor, part: Tensor) -> Tensor:
            """Scenes with one part, (n, 3, H, W): its number in `part`, one for all or one each."""
            kept = masks[places] == part.reshape(-1, 1, 1)
            return torch.where(kept[:, None], whole.images[places], empty.images[places])

        half = torch.arange(self.n_scenes)
        concepts, truth = {}, {}
        for name in self.parts:
            number = torch.tensor(PARTS.index(name) + 1)
            places = half[(masks[half] == number).flatten(1).any(1)]
            concepts[name] = alone(places, number)
            truth[name] = [CLASSES[label] for label in whole.labels[places].unique().tolist()]
        rng = np.random.default_rng(PARTS_SEED)
        drawn = torch.tensor([rng.choice(mask.unique()[1:].numpy()) for mask in masks])
        shown = alone(half, drawn[half])
        inside = (masks[half] == drawn[half, None, None])[:, None]
        mean = (shown * inside).sum((2, 3)) / inside.sum((2, 3))  # colour of the part, (n, 3)
        for name in self.colours:
            channel = COLOURS.index(name)
            excess = mean[:, channel] - mean[:, [c for c in range(3) if c != channel]].mean(1)
            concepts[name] = shown[excess.topk(round(self.colour_share * len(half))).indices.sort().values]
            truth[name] = []
        pool = alone(half + self.n_scenes, drawn[self.n_scenes :])
        classes = {
            name: data.test.images[data.test.labels == label][: self.class_size] for label, name in enumerate(CLASSES)
        }
        return ConceptSets(concepts, pool, classes, truth, self.relative)


class MarkConcepts:
    """A planted mark as a concept, and the same square at the place that no training image has it.

    Both concepts are of the test images of all other classes than the marked one, every second of them; the images of
    chance are the others of them, without a mark. Classes have their test images without the mark. True is what holds
    for a network that learnt the mark: that the marked class depends on it, and no other.

    Args:
        class_size: test images of a class, at most.

    Raises:
        UserError: when called: the data set has no planted mark.
    """

    def __init__(self, class_size: int = 100):
        self.class_size = class_size

    def __call__(self, data: Data) -> ConceptSets:
        marked = planted_mark(data)
        clean = marked.tested("without")
        others = (clean.labels != marked.target).nonzero().flatten()
        versions: Mapping[str, Shown] = {"mark": "with", "mark elsewhere": "moved"}
        concepts = {name: marked.tested(version).images[others[::2]] for name, version in versions.items()}
        classes = {
            name: clean.images[clean.labels == label][: self.class_size] for label, name in enumerate(marked.classes)
        }
        return ConceptSets(
            concepts, clean.images[others[1::2]], classes, {"mark": [marked.label], "mark elsewhere": []}
        )


class FolderConcepts:
    """Concepts from folders of images; the images of chance are those of the data set.

    Args:
        root: the data root (`XCNN_DATA`), below which the folders are looked for.
        folders: of each concept.
        classes: of each class, by its name in the data set, the folder of its images; None takes the data set's own.
        truth: of each concept the classes that have it, where that is known.
        resize, crop: as of `PictureFiles`.
        class_size: images of a class, at most; None takes all.
        relative: groups of concepts to compare with each other.

    Raises:
        Missing: when called: a folder is not there.
        UserError: when called: a folder without images, a class that the data set has not, or has no image of.
    """

    def __init__(
        self,
        root: str | Path,
        folders: Mapping[str, str],
        classes: Mapping[str, str | None],
        truth: Mapping[str, Sequence[str]] | None = None,
        resize: int | None = None,
        crop: int | None = None,
        class_size: int | None = None,
        relative: Sequence[Sequence[str]] = (),
    ):
        self.root, self.folders, self.classes = Path(root), folders, classes
        self.truth, self.resize, self.crop, self.relative = truth or {}, resize, crop, relative
        self.class_size = class_size

    def __call__(self, data: Data) -> ConceptSets:
        for name in self.classes:
            if name not in data.classes:
                near = difflib.get_close_matches(name, data.classes, n=5, cutoff=0.3)
                raise UserError(f"{data.name} has no class {name!r}; near ones: {', '.join(near) or 'none'}.")
        pictures, labels = data.pictures, [data.classes.index(name) for name in self.classes]
        of_classes = {
            name: _read(pictures, (pictures.labels == label).nonzero()[:, 0].tolist()[: self.class_size])
            if folder is None
            else self._folder(folder, self.class_size)
            for (name, folder), label in zip(self.classes.items(), labels, strict=True)
        }
        chance = [place for place, label in enumerate(pictures.labels.tolist()) if label not in labels]
        concepts = {name: self._folder(folder) for name, folder in self.folders.items()}
        return ConceptSets(concepts, _read(pictures, chance), of_classes, self.truth, self.relative)

    def _folder(self, name: str, size: int | None = None) -> Tensor:
        folder = self.root / name
        if not folder.is_dir():
            raise Missing(
                f"the images of a concept or class are not there: looked for {folder}. Put its images there, or name "
                "other folders in conf/concepts/."
            )
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)[:size]
        if not paths:
            raise UserError(f"{folder} has no image ({', '.join(sorted(IMAGE_ENDINGS))}).")
        nothing = torch.zeros(len(paths), dtype=torch.int64), [torch.empty(0, 4)] * len(paths)
        return _read(PictureFiles(paths, *nothing, resize=self.resize, crop=self.crop), range(len(paths)))


def _read(pictures: Pictures, places: Iterable[int]) -> Tensor:
    return pictures.read(list(places)).images
