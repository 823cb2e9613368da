"""A network whose classes are explained by prototypes, and what it says of all training and test images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from xcnn.data.tensors import Labelled, TensorDataModule, scale
from xcnn.device import autocast, device_name
from xcnn.errors import UserError
from xcnn.figures import PartPrototype
from xcnn.models.protopnet import ProtoPNet
from xcnn.prototypes import Codebook, Columns, Encoder
from xcnn.prototypes.codebook import fitted
from xcnn.report.cells import Cell, Measured
from xcnn.report.tables import Row

BATCH = 256  # images that go through a ProtoPNet at a time


class Posthoc(Protocol):
    """What explains a trained network afterwards: `KMEx`, `EncoderExplanation`, or a newcomer's.

    What `explain` gives has `predicted` and `logits`, and `tied` where classes may have as many votes.
    """

    encoder: Encoder

    @property
    def codebook(self) -> Codebook | None: ...
    def fit(self, images: Tensor, labels: Tensor) -> "Posthoc": ...
    def explain(self, images: Tensor) -> Any: ...
    def save(self, path: str | Path) -> None: ...
    def load(self, path: str | Path) -> "Posthoc": ...


def prepared(images: Tensor, normalise: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Bytes (N, C, H, W) to a network's input."""
    scaled = scale(images)
    return (scaled if normalise is None else normalise(scaled)).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Prototyped:
    """A trained network, its prototypes, and its data.

    Args:
        network: in eval mode, on `device`; a ProtoPNet has its prototypes within.
        method: what explains it afterwards; None for a ProtoPNet.
        data: what it was trained on; `train` is without the share held out for selection.
        training: its record.
        prepare: bytes to the network's input.
        device, precision: "bf16-mixed" runs the network under autocast to bfloat16.
    """

    network: nn.Module
    method: Columns | Posthoc | None
    data: TensorDataModule
    training: Mapping[str, Any]
    prepare: partial[Tensor]
    device: torch.device
    precision: str = "32-true"

    def autocast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    @property
    def prototypes(self) -> tuple[Tensor, Tensor]:
        """Prototypes (K, D) and the class of each (K,), in the space of `embeddings`."""
        if isinstance(self.network, ProtoPNet):
            return self.network.prototypes.detach().flatten(1), self.network.class_of
        assert self.method is not None
        book = fitted(self.method.codebook)
        return book.prototypes, book.class_of

    @torch.no_grad()
    def embeddings(self, images: Tensor) -> Tensor:
        """What prototypes of images are compared with, (N, D): the average over locations of the encoder's output.

        Of a ProtoPNet, the average over locations of its add-on layers' output.
        """
        with self.autocast():
            if isinstance(self.network, ProtoPNet):
                parts = images.split(BATCH)
                return torch.cat(
                    [self.network.latent(self.prepare(p.to(self.device))).mean((2, 3)).float() for p in parts]
                )
            assert self.method is not None
            return self.method.encoder.embeddings(images)

    def share(self, share: float | None, seed: int) -> Tensor:
        """Places among the training images: all, or this share of each class (one at least), drawn by the seed.

        Raises:
            UserError: a share that is not in (0, 1].
        """
        labels = self.data.train.labels
        if share is None:
            return torch.arange(len(labels))
        if not 0 < share <= 1:
            raise UserError(f"fit_share must be in (0, 1], or null for all training images, not {share}.")
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        members = [order[labels[order] == j] for j in range(len(self.data.classes))]
        return torch.cat([part[: max(1, round(share * len(part)))] for part in members]).sort().values

    @torch.no_grad()
    def said(self, images: Tensor) -> dict[str, Tensor]:
        """Of bytes (n, C, H, W): the class predicted, that of the network's classifier, and whether there was a tie."""
        with self.autocast():
            images = images.to(self.device)
            if self.method is None:
                parts = [self.network(self.prepare(part)).argmax(1) for part in images.split(BATCH)]
                return {"predicted": torch.cat(parts)}
            if isinstance(self.method, Columns):
                return {"predicted": self.method.predict(images)}
            found = self.method.explain(images)
        said = {"predicted": found.predicted, "network": found.logits.argmax(1)}
        return {**said, "tied": found.tied} if hasattr(found, "tied") else said

    def measured(self, values: Mapping[str, float], n: int, **more: Any) -> Measured:
        return Measured(
            values,
            n,
            {"name": self.data.name, "manifest": self.data.manifest},
            weights=self.training["weights"],
            training=self.training,
            device=device_name(self.device),
            precision=self.precision,
            **more,
        )


def learnt_parts(subject: Prototyped, classes: int) -> dict[str, list[PartPrototype]]:
    """The prototypes of a ProtoPNet's first classes where the last push found them, by class.

    The box is the location's own share of the image, not its receptive field, which may be all of it.
    """
    network = subject.network
    if not isinstance(network, ProtoPNet):
        raise AssertionError("only a ProtoPNet's prototypes come from patches")
    train = subject.data.train
    height, width = train.images.shape[2:]
    with torch.no_grad(), subject.autocast():
        rows, columns = network.latent(subject.prepare(train.images[:1].to(subject.device))).shape[2:]
    found: dict[str, list[PartPrototype]] = {}
    for label, name in list(enumerate(subject.data.classes))[:classes]:
        for image, row, column in network.source[network.class_of == label].tolist():
            box = [column * width / columns, row * height / rows]
            box += [box[0] + width / columns, box[1] + height / rows]
            found.setdefault(name, []).append(PartPrototype(train.images[image].numpy(), box, f"image {image}"))
    return found


def prediction_rows(cell: Cell, subject: Prototyped, chunk: int, of: Sequence[str] = ("train", "test")) -> pd.DataFrame:
    """A row for each training image, then each test image: `part`, `label` and what `Prototyped.said` says."""
    parts: dict[str, Labelled] = {name: getattr(subject.data, name) for name in of}
    sizes = {name: len(part) for name, part in parts.items()}

    def measure(places: range) -> pd.DataFrame:
        frames, start = [], 0
        for name, part in parts.items():
            own = slice(max(places.start - start, 0), max(min(places.stop - start, sizes[name]), 0))
            start += sizes[name]
            if own.start < own.stop:
                said = {key: values.cpu().numpy() for key, values in subject.said(part.images[own]).items()}
                frames.append(pd.DataFrame({"part": name, "label": part.labels[own].numpy(), **said}))
        return pd.concat(frames)

    return cell.rows(sum(sizes.values()), chunk, measure)


def by_network(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Rows by data set and network, then by method; of a method's several, with other options, the one with the fewest
    overrides: that of the method's own configuration."""

    def overrides(row: Row) -> int:
        return len(row.records[0]["overrides"])

    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        methods = groups.setdefault((row.dataset, row.model), {})
        methods[row.method] = min(methods.get(row.method, row), row, key=overrides)
    return groups


def per_class(row: Row) -> int | None:
    """K/C, prototypes for each class; None of a method that has no such option."""
    chosen = row.records[0]["settings"]
    number: int | None = (chosen.get("prototypes") or chosen.get("protopnet") or {}).get("per_class")
    return number


TITLES = {"cnn": "the CNN", "kmex": "KMEx", "protopnet": "ProtoPNet", "b4": "B4", "b34": "B34", "b234": "B234"}


def points(difference: float) -> str:
    """A difference in points, with its sign; of what rounds to nothing, none."""
    shown = f"{difference:+.1f}"
    return "0.0" if float(shown) == 0 else shown


def accuracies(rows: pd.DataFrame) -> dict[str, float]:
    """In %: `train`, `test`, right predictions; `agrees/<part>`, as the network's own classifier; `tied/<part>`,
    decided by distances because several classes had as many locations."""
    values = {}
    for part, frame in rows.groupby("part"):
        values[str(part)] = 100 * float((frame["predicted"] == frame["label"]).mean())
        if "network" in frame:
            values[f"agrees/{part}"] = 100 * float((frame["predicted"] == frame["network"]).mean())
        if "tied" in frame:
            values[f"tied/{part}"] = 100 * float(frame["tied"].mean())
    return values
