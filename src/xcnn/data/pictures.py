"""Pictures to explain: images with ids, labels and the boxes of their objects, read a few at a time.

A box is x0, y0, x1, y1 in pixels, x1 and y1 exclusive: it covers the area [x0, x1) x [y0, y1), and the whole of an
image of 224 x 224 is 0, 0, 224, 224. It goes through resizing and cropping with its image.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xcnn.data.decode import read_rgb
from xcnn.errors import UserError

CACHE_BYTES = 2**30  # about 7,000 pictures of 224 x 224


@dataclass(frozen=True)
class PictureBatch:
    """Some pictures, ready for a network's preprocessing.

    Attributes:
        images: (n, 3, H, W) uint8.
        labels: (n,) int64.
        boxes: n tensors (m, 4) float32 in pixels of `images`; m = 0 where no box is left inside the crop.
        ids: of the n pictures.
        broken: the pictures asked for that cannot be read, and are not among the n: id -> what is wrong.
    """

    images: Tensor
    labels: Tensor
    boxes: list[Tensor]
    ids: tuple[str, ...]
    broken: dict[str, str] = field(default_factory=dict)


class Pictures:
    """A list of pictures; a subclass gives `ids`, `labels` (N,) int64 and `read`."""

    ids: tuple[str, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, indices: Sequence[int]) -> PictureBatch:
        """The pictures at these places of the list, in this order."""
        raise NotImplementedError

    def read_ahead(self, parts: Iterable[Sequence[int]]) -> Iterator[PictureBatch]:
        """`read` of one part after the other; each is read while the caller works on the part before it."""
        coming: deque[Future[PictureBatch]] = deque()
        with ThreadPoolExecutor(max_workers=1) as reader:
            for indices in parts:
                coming.append(reader.submit(self.read, indices))
                if len(coming) > 1:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()


class PictureTensors(Pictures):
    """Pictures held in memory: images (N, 3, H, W) uint8, labels (N,), and N tensors (m, 4) of boxes."""

    def __init__(self, images: Tensor, labels: Tensor, boxes: Sequence[Tensor], ids: Sequence[str]):
        self.images, self.labels, self.boxes, self.ids = images, labels, boxes, tuple(ids)

    def read(self, indices: Sequence[int]) -> PictureBatch:
        places = torch.as_tensor(indices, dtype=torch.int64)
        boxes = [self.boxes[index].clone() for index in indices]
        return PictureBatch(
            self.images[places], self.labels[places], boxes, tuple(self.ids[index] for index in indices)
        )


class PictureFiles(Pictures):
    """Pictures decoded from their files when they are read, by torchvision's convention for evaluation.

    The shorter side is resized to `resize` (bilinear, antialiased, by PIL), then the centre is cropped; boxes are
    scaled, shifted and clipped to the crop, and a box wholly outside it is dropped. The first `cache_bytes` of cropped
    images are kept, because many methods read the same images, and none gives way to another: in a list that is
    longer, read from end to end again and again, the one that was read last is the one to be asked for last.

    Args:
        paths: of the N image files.
        labels: (N,) int64.
        boxes: N tensors (m, 4) float32, in pixels of the files.
        ids: N names; None takes the names of the files, without their endings.
        resize: length of the shorter side in pixels; None keeps the file's.
        crop: side of the square crop in pixels; None keeps the whole.
        broken: what to do with a file that cannot be read: "refuse" raises, "skip" leaves it out of the batch, which
            names it.
        cache_bytes: how much of the decoded images to keep in memory.

    Raises:
        UserError: of `read`: a broken file under "refuse"; a picture smaller than the crop; pictures of several sizes
            in a batch, because nothing crops them.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Tensor,
        boxes: Sequence[Tensor],
        ids: Sequence[str] | None = None,
        resize: int | None = None,
        crop: int | None = None,
        broken: Literal["refuse", "skip"] = "refuse",
        cache_bytes: int = CACHE_BYTES,
    ):
        if (resize is not None and resize < 1) or (crop is not None and crop < 1):
            raise UserError(f"resize and crop are positive numbers of pixels or null, not {resize} and {crop}.")
        if resize and crop and crop > resize:
            raise UserError(f"crop ({crop}) is larger than the resized image's shorter side ({resize}).")
        if broken not in ("refuse", "skip"):
            raise UserError(f"broken must be 'refuse' or 'skip', not {broken!r}.")
        self.paths, self.labels, self.boxes = tuple(paths), labels, boxes
        self.ids = tuple(path.stem for path in paths) if ids is None else tuple(ids)
        self.resize, self.crop, self.broken = resize, crop, broken
        self._free = cache_bytes
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._lock = threading.Lock()

    def read(self, indices: Sequence[int]) -> PictureBatch:
        results: dict[int, tuple[Tensor, Tensor] | str] = {
            index: self._kept[index] for index in indices if index in self._kept
        }
        absent = [index for index in indices if index not in results]
        if absent:
            with ThreadPoolExecutor() as pool:
                results.update(zip(absent, pool.map(self._decoded, absent), strict=True))
        found = [(index, *result) for index in indices if isinstance(result := results[index], tuple)]
        images = [image for _, image, _ in found]
        if len({image.shape for image in images}) > 1:
            raise UserError(
                f"the pictures {', '.join(self.ids[index] for index in indices[:3])}, ... have several sizes and are "
                "no batch: set resize and crop, or read them one by one."
            )
        return PictureBatch(
            torch.stack(images) if images else torch.empty(0, 3, self.crop or 0, self.crop or 0, dtype=torch.uint8),
            self.labels[[index for index, _, _ in found]],
            [boxes.clone() for _, _, boxes in found],
            tuple(self.ids[index] for index, _, _ in found),
            {self.ids[index]: result for index in absent if isinstance(result := results[index], str)},
        )

    def _decoded(self, index: int) -> tuple[Tensor, Tensor] | str:
        """Image (3, H, W) and boxes, or under "skip" what is wrong with the file."""
        try:
            image = read_rgb(self.paths[index])
        except UserError as error:
            if self.broken == "refuse":
                raise UserError(f"{error} With data.broken=skip such images are left out and counted.") from error
            return str(error)
        pixels, boxes = self._transformed(image, self.boxes[index], self.paths[index])
        with self._lock:
            if index not in self._kept and pixels.nbytes <= self._free:
                self._kept[index] = pixels, boxes
                self._free -= pixels.nbytes
        return pixels, boxes

    def _transformed(self, image: Image.Image, boxes: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        width, height = image.size
        if self.resize and self.resize != min(image.size):
            # torchvision's rule: the longer side is rounded down
            size = self.resize * width // min(image.size), self.resize * height // min(image.size)
            image = image.resize(size, Image.Resampling.BILINEAR)
        boxes = boxes * boxes.new_tensor([image.width / width, image.height / height] * 2)
        if self.crop:
            if self.crop > min(image.size):
                raise UserError(
                    f"{path} is {width} x {height} pixels, smaller than the crop of {self.crop}: set resize too."
                )
            left, top = round((image.width - self.crop) / 2), round((image.height - self.crop) / 2)
            image = image.crop((left, top, left + self.crop, top + self.crop))
            boxes = boxes - boxes.new_tensor([left, top, left, top])
        edges = boxes.new_tensor([image.width, image.height] * 2)
        boxes = boxes.clamp(min=torch.zeros_like(edges), max=edges)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()), boxes[inside]
