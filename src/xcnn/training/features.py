"""Features of a frozen trunk, computed once and kept on disk, so that heads are trained on them as networks on images.

A cache is a folder of three files: `settings.json` says of what the features are; `features.bin` holds them image after
image and is mapped into memory, not read; `chunks.txt` has a line for each chunk of images that is whole, its number
and the SHA-256 of its bytes. A line is written when its bytes are on the disk, so that a kill at any moment costs one
chunk; what is there is checked against its line whenever the cache is opened, and computed anew where it does not fit.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn
from tqdm import tqdm

from xcnn.data.tensors import Labelled, TensorDataModule, manifest_hash, scale
from xcnn.device import autocast
from xcnn.errors import UserError
from xcnn.files import atomic, locked, read_json, write_json
from xcnn.fingerprint import differences
from xcnn.models.backbones import Preprocessing
from xcnn.models.split import split_at
from xcnn.models.weights import weights_hash


def cached(
    compute: Callable[[Tensor], Tensor],
    images: Tensor,
    folder: str | Path,
    settings: Mapping[str, Any],
    chunk: int = 64,
    dtype: Literal["float16", "float32"] = "float16",
) -> Tensor:
    """Features of all images, computed where the folder does not have them yet.

    Args:
        compute: images (n, C, H, W) uint8 to features (n, K, h, w), each image's independent of the others'.
        images: (N, C, H, W) uint8.
        folder: of the cache; made if missing. Another process that asks for the same folder waits.
        settings: the plain values that the features depend on.
        chunk: images that `compute` is given at a time, and the most that a kill can cost.
        dtype: in which the features are kept.

    Returns:
        (N, K, h, w) in `dtype`, mapped from the disk: writing to it changes the copy in memory only.

    Raises:
        UserError: the folder holds the features of other images, of another network or layer, or made otherwise (says
            what differs); a feature is not finite in `dtype`; the folder cannot be written.
    """
    folder = Path(folder)
    asked = {**settings, "n": len(images), "chunk": chunk, "dtype": dtype}
    with locked(folder / "lock"):
        if not (folder / "settings.json").is_file():
            found = [len(images), *compute(images[:1]).shape[1:]]
            write_json(folder / "settings.json", {"settings": asked, "shape": found})
        kept = read_json(folder / "settings.json")
        different = differences(kept["settings"], asked)
        if different:
            raise UserError(
                f"{folder} holds other features than those asked for: {'; '.join(different)} (there -> asked for). "
                "Name another folder, or delete this one."
            )
        path = folder / "features.bin"
        shape: tuple[int, ...] = tuple(kept["shape"])
        with path.open("ab") as stream:
            stream.truncate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        features = np.memmap(path, dtype, "r+", shape=shape)
        starts = range(0, len(images), chunk)
        whole = {
            number: digest
            for number, digest in _lines(folder / "chunks.txt").items()
            if number < len(starts) and _digest(features[starts[number] : starts[number] + chunk]) == digest
        }
        with atomic(folder / "chunks.txt") as stream:  # without what a kill left of a line, or what did not fit
            stream.writelines(f"{number} {digest}\n" for number, digest in whole.items())
        missing = [number for number in range(len(starts)) if number not in whole]
        with (folder / "chunks.txt").open("a", encoding="utf-8") as lines:
            for number in tqdm(missing, "features", unit="chunk", leave=False, disable=None):
                part = slice(starts[number], starts[number] + chunk)
                values = compute(images[part]).to("cpu", getattr(torch, dtype)).numpy()
                if not np.isfinite(values).all():
                    raise UserError(f"features of images from {part.start} on are not finite in {dtype}: use float32.")
                features[part] = values
                features.flush()
                lines.write(f"{number} {_digest(values)}\n")
                lines.flush()
                os.fsync(lines.fileno())
    return torch.from_numpy(np.memmap(path, dtype, "c", shape=shape))


def _lines(path: Path) -> dict[int, str]:
    """Numbers and digests of the chunks that a cache calls whole; a line cut short is none."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {int(number): digest for number, digest in re.findall(r"^(\d+) ([0-9a-f]{64})\n", text, re.MULTILINE)}


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def trunk_of(network: nn.Module, layer: str) -> fx.GraphModule:
    """What gives a network's features at a layer; of the weights it has those before the layer alone.

    Raises:
        UserError: as `split_at`.
    """
    split = split_at(network, layer)
    return fx.GraphModule(split.root, split.trunk_graph)


class FeatureData(TensorDataModule):
    """A data set's features at a layer of a frozen network, in the images' place.

    `train`, `val` and `test` are the same images as the data set's own, not augmented; what is trained on them maps
    features (N, K, h, w) to logits, such as the head of the network cut there. After `setup()`, `manifest` is the
    features' hash and `source_manifest` the images'.

    Args:
        data: the data set, as it would be trained on.
        network: its trunk gives the features, in evaluation mode, on its own device.
        layer: whose output is kept.
        folder: of the caches of the training and of the test part.
        preprocessing: what the network expects of images in [0, 1]; only its normalisation is used. None leaves them.
        pooled: keep the mean over locations, as (N, K, 1, 1).
        precision: "bf16-mixed" runs the trunk under autocast to bfloat16.
        chunk, dtype: as for `cached`.

    Raises:
        UserError: as `split_at` and, when set up, as `cached`.
    """

    def __init__(
        self,
        data: TensorDataModule,
        network: nn.Module,
        layer: str,
        folder: str | Path,
        preprocessing: Preprocessing | None = None,
        pooled: bool = False,
        precision: str = "32-true",
        chunk: int = 64,
        dtype: Literal["float16", "float32"] = "float16",
    ):
        super().__init__(data.root, data.batch_size, data.val_share, data.seed, data.train_size, data.test_size)
        self.source, self.folder, self.preprocessing, self.pooled = data, Path(folder), preprocessing, pooled
        self.layer, self.precision, self.chunk, self.dtype = layer, precision, chunk, dtype
        self._trunk = trunk_of(network, layer)
        self._device = next(network.parameters()).device

    def settings(self, manifest: str) -> dict[str, Any]:
        """What the features of images with this manifest hash depend on."""
        normalised = self.preprocessing and {"mean": self.preprocessing.mean, "std": self.preprocessing.std}
        return {
            "images": manifest,
            "weights": weights_hash(self._trunk),
            "layer": self.layer,
            "normalised": normalised and {name: list(values) for name, values in normalised.items()},
            "pooled": self.pooled,
            "precision": self.precision,
        }

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        train, test, classes = self.source.load()
        self.name = self.source.name
        self.source_manifest = manifest_hash(train, test, classes)
        settings = self.settings(self.source_manifest)
        train, test = (
            Labelled(
                cached(
                    self._compute, part.images, self.folder / name, {**settings, "part": name}, self.chunk, self.dtype
                ),
                part.labels,
            )
            for name, part in (("train", train), ("test", test))
        )
        return train, test, classes

    @torch.inference_mode()
    def _compute(self, images: Tensor) -> Tensor:
        scaled = scale(images.to(self._device))
        if self.preprocessing is not None:
            scaled = self.preprocessing.normalise(scaled)
        with autocast(self._device, self.precision):
            features = self._trunk(scaled.contiguous(memory_format=torch.channels_last))
        features = features.float()
        return features.mean((2, 3), keepdim=True) if self.pooled else features
