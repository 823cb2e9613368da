"""A network and the data that it is measured on: what every measurement is of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xcnn.data.pictures import PictureBatch, Pictures
from xcnn.data.tensors import TensorDataModule, scale
from xcnn.device import autocast, device_name
from xcnn.metrics.boxes import box_masks
from xcnn.prototypes import Columns, Posthoc
from xcnn.report.cells import Measured

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Subject:
    """A network, its data, and how images become its input; with or without prototypes that explain it.

    Args:
        network: network in eval mode, on `device`; a ProtoPNet has its prototypes within.
        data: data set with the images to measure on, and those that the network was trained on where it was here.
        normalise: images in [0, 1], (N, C, H, W), to the network's input.
        weights: hash of the network's weights; None for random ones.
        weights_provenance: origin of the file of weights that the network has or started from; None without one.
        training, folder: record and folder of its training, where it was trained here.
        method: prototypes that explain it afterwards; None without, and for a ProtoPNet.
        device, precision: of the measurement; "bf16-mixed" runs the network under autocast to bfloat16.
        batch: number of images at a time.
    """

    network: nn.Module
    data: TensorDataModule
    normalise: Callable[[Tensor], Tensor]
    weights: str | None
    training: Mapping[str, Any] | None = None
    folder: Path | None = None
    method: Columns | Posthoc | None = None
    device: torch.device = CPU
    precision: str = "32-true"
    batch: int = 256
    weights_provenance: str | None = None

    @property
    def pictures(self) -> Pictures:
        """The list of images whose classification is explained."""
        return self.data.pictures

    @property
    def name(self) -> str:
        """Name of the data set in results."""
        return self.data.name

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, by index."""
        return self.data.classes

    @property
    def prepare(self) -> partial[Tensor]:
        """Bytes (N, C, H, W) to the network's input, as a function that can be pickled."""
        return partial(prepared, normalise=self.normalise)

    def scaled(self, batch: PictureBatch) -> Tensor:
        """The images in [0, 1], (n, 3, H, W), on the device."""
        return scale(batch.images.to(self.device)).contiguous(memory_format=torch.channels_last)

    def objects(self, batch: PictureBatch) -> Tensor:
        """The pixels of each image's objects, bool (n, H, W): its mask where the data set has masks, else its boxes."""
        masks = getattr(getattr(self.data, "test", None), "masks", {}).get("object")
        if masks is None:
            return box_masks(batch.boxes, batch.images.shape[2:]).to(self.device)
        place = {name: index for index, name in enumerate(self.pictures.ids)}
        return (masks[[place[name] for name in batch.ids]] > 0).to(self.device)

    def autocast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def measured(self, values: Mapping[str, float], n: int | None = None, **more: Any) -> Measured:
        """What was found, with the provenance of data and network filled in.

        Args:
            n: number of images that the values are over; None for all test images.
            more: further arguments of `Measured`.
        """
        return Measured(
            values,
            len(self.data.test) if n is None else n,
            {"name": self.data.name, "manifest": self.data.manifest},
            weights=self.weights,
            weights_provenance=self.weights_provenance,
            training=self.training,
            device=device_name(self.device),
            precision=self.precision,
            **more,
        )


def networks(**subjects: Subject) -> dict[str, dict[str, str | None]]:
    """The networks that a measurement used, by name: the hash of the weights, and the fingerprint of the training.

    For a record's details, where a cell measures more than the network that its own fields name.
    """
    return {
        name: {"weights": subject.weights, "training": (subject.training or {}).get("fingerprint")}
        for name, subject in subjects.items()
    }


def prepared(images: Tensor, normalise: Callable[[Tensor], Tensor]) -> Tensor:
    """Bytes (N, C, H, W) to a network's input."""
    return normalise(scale(images)).contiguous(memory_format=torch.channels_last)
