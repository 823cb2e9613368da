"""A network and the pictures whose classification is to be explained: rows for each, and intervals over them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from xcnn.data.pictures import PictureBatch, Pictures
from xcnn.data.tensors import scale
from xcnn.device import autocast, device_name
from xcnn.metrics.bootstrap import interval, paired_difference
from xcnn.report.cells import Cell, Measured


@dataclass(frozen=True)
class Subject:
    """A network, and the pictures whose classification is to be explained.

    Args:
        network: in eval mode, on `device`.
        normalise: pictures in [0, 1] to the network's input.
        pictures, name, manifest: the list, its name in results and its hash.
        classes: human names, by class index.
        weights: hash of the network's weights.
        device, precision: "bf16-mixed" runs trunks under autocast to bfloat16.
        batch: pictures at a time.
    """

    network: nn.Module
    normalise: Callable[[Tensor], Tensor]
    pictures: Pictures
    name: str
    manifest: str
    classes: Sequence[str]
    weights: str | None
    device: torch.device
    precision: str = "32-true"
    batch: int = 8

    def scaled(self, batch: PictureBatch) -> Tensor:
        """The pictures in [0, 1], (n, 3, H, W), on the device."""
        return scale(batch.images.to(self.device)).contiguous(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def measured(self, values: Mapping[str, float], n: int, **more: Any) -> Measured:
        return Measured(
            values,
            n,
            {"name": self.name, "manifest": self.manifest},
            weights=self.weights,
            device=device_name(self.device),
            precision=self.precision,
            **more,
        )


Columns = Mapping[str, Sequence[Any] | Tensor]


def picture_rows(cell: Cell, subject: Subject, chunk: int, columns: Callable[[PictureBatch], Columns]) -> pd.DataFrame:
    """A row for each picture: its id, whether it could not be read (`broken`), its label, and `columns` of a batch."""
    pictures = subject.pictures

    def measure(places: range) -> pd.DataFrame:
        parts = [places[i : i + subject.batch] for i in range(0, len(places), subject.batch)]
        frames = []
        for batch in pictures.read_ahead(parts):
            found = {
                name: values.cpu().numpy() if isinstance(values, Tensor) else values
                for name, values in (columns(batch) if len(batch.ids) else {}).items()
            }
            frames.append(pd.DataFrame({"id": batch.ids, "label": batch.labels.numpy(), **found}))
        rows = pd.concat(frames).set_index("id").reindex([pictures.ids[place] for place in places])
        rows.insert(0, "broken", rows["label"].isna())
        return rows.reset_index()

    if chunk % subject.batch:
        raise AssertionError(f"chunks of {chunk} do not hold whole batches of {subject.batch}")
    return cell.rows(len(pictures), chunk, measure)


def with_intervals(table: pd.DataFrame) -> dict[str, float]:
    """`metric/choice` of each column: its mean over pictures, and `metric.low/choice`, `metric.high/choice`."""
    found = interval(table.to_numpy(float))
    return {
        named(str(column), part): float(values[place])
        for part, values in (("", found.mean), ("low", found.low), ("high", found.high))
        for place, column in enumerate(table)
    }


def differences(table: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """`metric.less/choice`: the mean difference to the reference's column, picture by picture, with interval and p."""
    found = paired_difference(table.to_numpy(float), reference[list(table)].to_numpy(float))
    parts = (("less", found.mean), ("less_low", found.low), ("less_high", found.high), ("less_p", found.p))
    return {
        named(str(column), part): float(values[place]) for part, values in parts for place, column in enumerate(table)
    }


def named(column: str, part: str) -> str:
    """`drop_confidence/soft-black` and `low` to `drop_confidence.low/soft-black`."""
    metric, slash, choice = column.partition("/")
    return f"{metric}.{part}{slash}{choice}" if part else column
