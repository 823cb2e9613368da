"""Pictures: those that are sent, by the hash of their content, and those that come in, which are never trusted."""

import hashlib
import io
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from xcnn.errors import UserError
from xcnn.figures.renderings import Array, as_tensor
from xcnn.files import atomic

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 4096 * 4096
STORED_SIDE = 512  # pixels of the longer side of what is kept of an upload
HASH_DIGITS = 32


def name_of(content: bytes) -> str:
    """The name of a picture: the first hexadecimal digits of its content's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def png(picture: Array) -> bytes:
    """A picture (3, H, W) in [0, 1] as a PNG."""
    pixels = (as_tensor(picture).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return _encoded(Image.fromarray(pixels))


class PictureStore:
    """Pictures by name, in memory; the least recently used go when they are more than `max_bytes` together."""

    def __init__(self, max_bytes: int = 2**26):
        self.max_bytes, self._held = max_bytes, OrderedDict[str, bytes]()
        self._bytes, self._lock = 0, threading.Lock()

    def put(self, pictures: Mapping[str, bytes]) -> None:
        """Keep pictures, or mark those there as used."""
        with self._lock:
            for name, content in pictures.items():
                if name not in self._held:
                    self._bytes += len(content)
                self._held[name] = content
                self._held.move_to_end(name)
            while self._bytes > self.max_bytes and len(self._held) > len(pictures):
                self._bytes -= len(self._held.popitem(last=False)[1])

    def get(self, name: str) -> bytes | None:
        """The content, or None where there is no such picture any more."""
        with self._lock:
            return self._held.get(name)


def decoded(content: bytes) -> Image.Image:
    """An uploaded picture as RGB, upright, no larger than is kept, without what else its file holds (such as Exif).

    The size is read from the header and checked before a pixel is decoded.

    Raises:
        UserError: it is not a PNG, JPEG or WebP, is cut short, or has more than `MOST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            opened = Image.open(io.BytesIO(content), formats=FORMATS)
        with opened as image:
            if image.width * image.height > MOST_PIXELS:
                raise UserError(
                    f"the picture has {image.width} x {image.height} pixels; send one of 4096 x 4096 at most."
                )
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError("the picture has too many pixels; send one of 4096 x 4096 at most.") from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError, TypeError):
        raise UserError("this is no whole PNG, JPEG or WebP picture; send another file.") from None
    upright.thumbnail((STORED_SIDE, STORED_SIDE))
    return Image.fromarray(np.asarray(upright))  # the pixels alone


def fitted(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """An image as a network takes it: its middle at the size (H, W), (3, H, W) in [0, 1]."""
    cut = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(cut).copy()).permute(2, 0, 1).float() / 255


class Uploads:
    """Uploaded pictures in a folder, re-encoded, by the hash of their content; the oldest go beyond `most`.

    Args:
        folder: where they are kept, so that an address that names one can be shared.
        most: number of pictures.
    """

    def __init__(self, folder: Path, most: int = 500):
        self.folder, self.most = folder, most

    def add(self, content: bytes) -> str:
        """Keep an uploaded file; its name.

        Raises:
            UserError: as `decoded`.
        """
        encoded = _encoded(decoded(content))
        name = name_of(encoded)
        with atomic(self.folder / f"{name}.png", "wb") as stream:
            stream.write(encoded)
        kept = sorted(self.folder.glob("*.png"), key=lambda path: path.stat().st_mtime)
        for path in kept[: -self.most]:
            path.unlink(missing_ok=True)
        return name

    def read(self, name: str) -> Image.Image:
        """The picture of a name.

        Raises:
            UserError: there is none.
        """
        try:
            return Image.open(io.BytesIO((self.folder / f"{name}.png").read_bytes()), formats=("PNG",))
        except FileNotFoundError:
            raise UserError("this uploaded picture is no longer kept here; upload it again.") from None


def _encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()
