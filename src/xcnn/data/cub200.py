"""CUB-200-2011: 11,788 photographs of birds in 200 classes (5,994 to train on, 5,794 to test), with boxes and parts.

Looked for below the data root as distributed: `CUB_200_2011/` with `images.txt`, `image_class_labels.txt`,
`train_test_split.txt`, `classes.txt`, `bounding_boxes.txt`, `parts/parts.txt`, `parts/part_locs.txt` and
`images/<class>/*.jpg`. A box is listed by its upper left corner, width and height; it is clipped to its image.

A tree may hold some of the classes, under their official numbers, and the parts of some of the images. Its lists name
what is there: every image that they list must have a file, a class, a box and its part of the split.

Some pictures are in ImageNet too: a network with ImageNet weights may have seen images of the test part.
"""

import difflib
import hashlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from xcnn.data.decode import read_rgb
from xcnn.data.pictures import PictureTensors
from xcnn.data.tensors import Labelled, TensorDataModule, checked_side
from xcnn.errors import Missing, UserError

N_CLASSES = 200
SIDE = 224  # in pixels, unless another is asked for
FOLDER = "CUB_200_2011"
UNKNOWN = (float("nan"),) * 3
URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
REMEDY = f"Run `make data-cub200`, or fetch {URL} and unpack it below the data root (XCNN_DATA)."

Crop = Literal["whole", "box"]


@dataclass(frozen=True, kw_only=True)
class Birds(Labelled):
    """Images with labels, and what is known of each.

    Attributes:
        boxes: (N, 4) float32 around the bird: x0, y0, x1, y1 in pixels of `images`, x1 and y1 exclusive.
        parts: (N, P, 3) float32: x, y in pixels of `images`, and 1 if the part is visible; 0, 0, 0 if it is not, and
            NaN where the tree does not list the image's parts.
        ids: of the N images: their file names without ending.
    """

    boxes: Tensor
    parts: Tensor
    ids: tuple[str, ...]

    def subset(self, indices: Tensor) -> "Birds":
        ids = tuple(self.ids[index] for index in indices.tolist())
        return Birds(
            self.images[indices], self.labels[indices], boxes=self.boxes[indices], parts=self.parts[indices], ids=ids
        )


class CUB200(TensorDataModule):
    """CUB-200-2011 or some of its classes, by the official split; see `TensorDataModule` for the other arguments.

    Images are resized to a square (bilinear, antialiased, by PIL), whatever their aspect. After `setup()`, `train`,
    `val` and `test` are `Birds`, `pictures` are the test images with their boxes, and `part_names` name the parts.
    Labels are 0..n - 1 in the order of the classes' official numbers.

    Args:
        image_size: side in pixels.
        crop: "whole" image, or the "box" around the bird, as ProtoPNet's published protocol has it; a part outside
            the box is then not visible.
        labels: the classes to keep, by their names in `classes`, in any order; None keeps all that the tree has.
    """

    name = "CUB-200-2011"
    train: Birds
    val: Birds
    test: Birds
    part_names: tuple[str, ...]

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
        image_size: int = SIDE,
        crop: Crop = "whole",
        labels: Sequence[str] | None = None,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        if crop not in ("whole", "box"):
            raise UserError(f"crop must be 'whole' or 'box', not {crop!r}.")
        if labels is not None and (not labels or len(set(labels)) < len(labels)):
            raise UserError("labels must name at least one class, and each once; null takes all.")
        self.image_size, self.crop = checked_side(image_size), crop
        self.labels = None if labels is None else tuple(sorted(labels))

    def load(self) -> tuple[Birds, Birds, tuple[str, ...]]:
        self._tree = _read(self.root.resolve(), self.image_size, self.crop, self.labels)
        self.part_names = self._tree.part_names
        whole = torch.tensor([0.0, 0, self.image_size, self.image_size])
        boxes = torch.cat([self._tree.train.boxes, self._tree.test.boxes])
        cropped = self.crop == "box" or torch.allclose(boxes, whole.expand_as(boxes), atol=1e-3)
        self.name = title(self._tree.classes, cropped, self.image_size)
        return self._tree.train, self._tree.test, self._tree.classes

    def setup(self, stage: str = "") -> None:
        """Load once; `pictures` are the images of `test`, and the manifest covers boxes and parts too."""
        if self._loaded:
            return
        super().setup(stage)
        digest = hashlib.sha256(self.manifest.encode())
        for part in (self._tree.train, self._tree.test):
            digest.update(part.boxes.numpy().tobytes() + part.parts.numpy().tobytes())
        self.manifest = digest.hexdigest()[:16]
        self.pictures = PictureTensors(
            self.test.images, self.test.labels, list(self.test.boxes[:, None]), self.test.ids
        )


def title(classes: Collection[str], cropped: bool = False, image_size: int = SIDE) -> str:
    """The name for results of a data set with these classes, of images that end where their boxes do or go on."""
    what = [f"{len(classes)} of {N_CLASSES} classes"] if len(classes) != N_CLASSES else []
    what += ["cropped to the boxes"] if cropped else []
    what += [f"{image_size} px"] if image_size != SIDE else []
    return CUB200.name + (f" ({', '.join(what)})" if what else "")


def described(root: Path) -> str:
    """What there is below the data root: its name, and whether parts are not known of all images."""
    listed = list_images(root)
    known = int((~listed.parts.isnan()).all(2).all(1).sum())
    return title(listed.classes) + (
        f", with the parts of {known:,} of {len(listed.paths):,} images," if known < len(listed.paths) else ""
    )


class Listed(NamedTuple):
    """Which images there are: paths, labels, boxes (N, 4) and parts (N, P, 3; NaN: not listed), in pixels of files."""

    paths: tuple[Path, ...]
    labels: Tensor
    train: Tensor  # (N,) bool: the official split
    boxes: Tensor
    parts: Tensor
    classes: tuple[str, ...]
    part_names: tuple[str, ...]


def list_images(root: Path, labels: Collection[str] | None = None) -> Listed:
    """The images of these classes (None: of all that there are), in the order of their ids, without opening any.

    Raises:
        Missing: the tree, one of its lists or an image that they list is not there.
        UserError: a list is damaged or does not match another, or there is no such class.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        raise Missing(f"CUB-200-2011 is not there: looked for {folder}. {REMEDY}")
    images = _table(folder / "images.txt", _name, "an image's id and its path")
    class_of = _table(folder / "image_class_labels.txt", _two_ids, "an image's id and its class's")
    is_train = _table(folder / "train_test_split.txt", _flag, "an image's id and 1 (train) or 0 (test)")
    boxes = _table(folder / "bounding_boxes.txt", _box, "an image's id and x, y, width and height of its box")
    classes = _table(folder / "classes.txt", _name, "a class's id and its name")
    part_names = _table(folder / "parts" / "parts.txt", _name, "a part's id and its name")
    parts = _table(
        folder / "parts" / "part_locs.txt", _part, "an image's id, a part's, x, y and 1 (visible) or 0 (not)"
    )
    for name, keys in (
        ("image_class_labels.txt", class_of), ("train_test_split.txt", is_train), ("bounding_boxes.txt", boxes)
    ):  # fmt: skip
        _same_ids(folder / name, keys, "images.txt", images)
    annotated = images.keys() & {image for image, _ in parts}
    expected = set(product(annotated, part_names))
    _same_ids(folder / "parts" / "part_locs.txt", parts, "images.txt and parts.txt", expected)
    _same_ids(folder / "image_class_labels.txt", set(class_of.values()), "classes.txt", classes)

    misplaced = [key for key in sorted(images) if PurePosixPath(images[key]).parts[0] != classes[class_of[key]]]
    if misplaced:
        key = misplaced[0]
        raise UserError(
            f"{folder / 'image_class_labels.txt'} and the folders of images.txt do not fit in {len(misplaced):,} of "
            f"{len(images):,} images: image {key} is {images[key]}, and its class {class_of[key]} is "
            f"{classes[class_of[key]]}. Restore these files. {REMEDY}"
        )
    # 001.Black_footed_Albatross
    called = {key: name.split(".", 1)[-1].replace("_", " ") for key, name in sorted(classes.items())}
    unknown = sorted(set(labels or ()) - set(called.values()))
    if unknown:
        near = difflib.get_close_matches(unknown[0], called.values()) or list(called.values())[:3]
        raise UserError(
            f"{folder / 'classes.txt'} has no class {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}: "
            f"choose names like {', '.join(near)} with data.labels."
        )
    kept_classes = [key for key, name in called.items() if labels is None or name in labels]
    label_of = {key: label for label, key in enumerate(kept_classes)}
    kept = [key for key in sorted(images) if class_of[key] in label_of]
    paths = tuple(folder / "images" / images[key] for key in kept)
    absent = [str(path.relative_to(folder)) for path in paths if not path.is_file()]
    if absent:
        raise Missing(
            f"CUB-200-2011 is incomplete: {folder} lacks {len(absent):,} of the {len(paths):,} images asked for: "
            f"{', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}. {REMEDY}"
        )
    label = torch.tensor([label_of[class_of[key]] for key in kept])
    train = torch.tensor([is_train[key] for key in kept])
    for part, present in (("train on", label[train]), ("test", label[~train])):
        without = sorted(set(label_of.values()) - set(present.tolist()))
        if without:
            raise UserError(
                f"{folder / 'train_test_split.txt'} leaves no image of {called[kept_classes[without[0]]]} to {part}. "
                f"Restore this file. {REMEDY}"
            )
    return Listed(
        paths,
        label,
        train,
        torch.tensor([boxes[key] for key in kept]),
        torch.tensor([[parts.get((key, part), UNKNOWN) for part in sorted(part_names)] for key in kept]),
        tuple(called[key] for key in kept_classes),
        tuple(name for _, name in sorted(part_names.items())),
    )


class _Tree(NamedTuple):
    train: Birds
    test: Birds
    classes: tuple[str, ...]
    part_names: tuple[str, ...]


@lru_cache(maxsize=1)
def _read(root: Path, image_size: int, crop: Crop, labels: tuple[str, ...] | None) -> _Tree:
    """The whole tree, decoded once per process; its data modules share the tensors and none writes to them."""
    listed = list_images(root, labels)
    train, test = (
        _decoded(listed, places.nonzero()[:, 0], image_size, crop) for places in (listed.train, ~listed.train)
    )
    return _Tree(train, test, listed.classes, listed.part_names)


def _decoded(listed: Listed, places: Tensor, size: int, crop: Crop) -> Birds:
    """The images at these places of the list, resized; boxes and parts go along."""
    paths = [listed.paths[place] for place in places.tolist()]
    boxes, parts = listed.boxes[places], listed.parts[places]
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def read(index: int) -> tuple[int, int, int, int]:
        """Decodes one image; left, top, right and bottom of what is kept of it."""
        image = read_rgb(paths[index])
        edges = boxes.new_tensor([image.width, image.height])
        box = boxes[index]
        box[:2], box[2:] = box[:2].clamp(min=0), box[2:].minimum(edges)
        if not (box[2:] > box[:2]).all():
            raise UserError(
                f"{paths[index]} is {image.width} x {image.height} pixels, and its box lies outside. Was the image "
                f"resized? Restore it. {REMEDY}"
            )
        kept = (0, 0, image.width, image.height)
        if crop == "box":
            kept = tuple(torch.cat([box[:2].floor(), box[2:].ceil()]).int().tolist())
            image = image.crop(kept)
        images[index] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        return kept

    with ThreadPoolExecutor() as pool:
        progress = tqdm(pool.map(read, range(len(paths))), "decoding", len(paths), leave=False, disable=None)
        kept = torch.tensor(list(progress))
    origin = kept[:, None, :2]
    scale = size / (kept[:, None, 2:] - origin)
    parts[..., :2] = (parts[..., :2] - origin) * scale
    inside = ((parts[..., :2] >= 0) & (parts[..., :2] <= size)).all(-1) & (parts[..., 2] > 0)
    return Birds(
        torch.from_numpy(images),
        listed.labels[places],
        boxes=((boxes.unflatten(1, (2, 2)) - origin) * scale).flatten(1),
        parts=parts * inside[..., None],
        ids=tuple(path.stem for path in paths),
    )


def _name(key: str, *words: str) -> tuple[int, str]:
    if not words:
        raise ValueError
    return int(key), " ".join(words)


def _two_ids(key: str, other: str) -> tuple[int, int]:
    return int(key), int(other)


def _flag(key: str, flag: str) -> tuple[int, bool]:
    return int(key), ("0", "1").index(flag) == 1


def _box(key: str, *numbers: str) -> tuple[int, tuple[float, ...]]:
    x, y, width, height = map(float, numbers)
    if not (width > 0 and height > 0):
        raise ValueError
    return int(key), (x, y, x + width, y + height)


def _part(key: str, part: str, x: str, y: str, visible: str) -> tuple[tuple[int, int], tuple[float, ...]]:
    return (int(key), int(part)), (float(x), float(y), float(("0", "1").index(visible)))


def _table(path: Path, parse: Callable[..., tuple[Any, Any]], expected: str) -> dict[Any, Any]:
    """The lines of a list, each parsed into an id and its value.

    Raises:
        Missing: there is no such file.
        UserError: a line does not parse, an id comes twice, or there is no line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise Missing(f"CUB-200-2011 is incomplete: there is no {path}. {REMEDY}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}). Restore this file. {REMEDY}") from error
    rows: dict[Any, Any] = {}
    for number, line in enumerate(lines, 1):
        try:
            key, value = parse(*line.split())
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {number}: {line!r} is not {expected}. Restore this file. {REMEDY}"
            ) from error
        if key in rows:
            raise UserError(f"{path}, line {number}: {line!r} repeats an id. Restore this file. {REMEDY}")
        rows[key] = value
    if not rows:
        raise UserError(f"{path} is empty. Restore this file. {REMEDY}")
    return rows


def _same_ids(path: Path, found: Collection[Any], other: str, expected: Collection[Any]) -> None:
    here, there = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    if here or there:
        counts = [f"{len(ids):,} only in {name} ({ids[0]}{', ...' if len(ids) > 1 else ''})"
                  for name, ids in ((path.name, here), (other, there)) if ids]  # fmt: skip
        raise UserError(
            f"{path} and {other} do not have the same ids: {' and '.join(counts)}. Restore these files. {REMEDY}"
        )
