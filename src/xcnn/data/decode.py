"""Image files as bytes in memory, many at once: decoders release the interpreter's lock, so threads are enough."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from xcnn.errors import UserError


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image file, its header read and its pixels not yet.

    Raises:
        UserError: while opened or decoded, the file is not there, is no image or is cut short.
    """
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the image {path} ({error}). Restore this file, then run again.") from error


def read_rgb(path: Path) -> Image.Image:
    """The decoded image in three channels; grey, palette and CMYK files are converted, Exif rotation is not applied.

    Raises:
        UserError: the file is not there, is no image or is cut short.
    """
    with opened(path) as image:
        return image.convert("RGB")


def decode(
    paths: Sequence[Path],
    size: tuple[int, int] | None,
    resized: tuple[int, int] | None = None,
    resampling: Image.Resampling = Image.Resampling.BOX,
) -> np.ndarray:
    """Image files as one array (N, 3, height, width) of uint8.

    Args:
        size: (height, width) that every file must have; None takes files of any size, which needs `resized`.
        resized: (height, width) of the result; None keeps `size`.
        resampling: how that is reached; area averaging by default.

    Raises:
        UserError: an image cannot be read or has another size (named).
    """
    shape = resized or size
    assert shape is not None, "files of any size have no common one"
    images = np.empty((len(paths), 3, *shape), dtype=np.uint8)

    def read(index: int) -> None:
        image = read_rgb(paths[index])
        if size and (image.height, image.width) != size:
            raise UserError(f"{paths[index]} is {image.width} x {image.height}, expected {size[1]} x {size[0]} pixels.")
        if resized:
            image = image.resize((resized[1], resized[0]), resampling)
        images[index] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(paths))))
    return images
