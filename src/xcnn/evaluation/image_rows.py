"""A row for each image of a list, and what is known of their means: intervals and paired differences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.subject import Subject
from xcnn.metrics.bootstrap import Difference, Interval, interval, paired_difference
from xcnn.report.cells import Cell
from xcnn.report.tables import named

Columns = Mapping[str, Sequence[Any] | Tensor]


def image_rows(cell: Cell, subject: Subject, chunk: int, columns: Callable[[PictureBatch], Columns]) -> pd.DataFrame:
    """A row for each image: its id, whether it could not be read (`broken`), its label, and `columns` of a batch.

    Args:
        chunk: number of images whose rows a kill can cost; whole batches of the subject.
    """
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
    """`metric/choice` of each column: its mean over images, and `metric.low/choice`, `metric.high/choice`."""
    return with_ends([str(column) for column in table], interval(table.to_numpy(float)))


def with_ends(columns: Sequence[str], found: Interval | Difference) -> dict[str, float]:
    """`metric/choice` of each column, and `metric.low/choice`, `metric.high/choice`, the ends of its interval."""
    return {
        named(column, part): float(values[place])
        for part, values in (("", found.mean), ("low", found.low), ("high", found.high))
        for place, column in enumerate(columns)
    }


def differences(table: pd.DataFrame, reference: pd.DataFrame, name: str = "less") -> dict[str, float]:
    """`metric.less/choice`: the mean difference to the reference's column, image by image, with interval and p.

    Args:
        name: what stands for `less`: `less_ablation_cam`, where that is a second reference.
    """
    found = paired_difference(table.to_numpy(float), reference[list(table)].to_numpy(float))
    parts = ((name, found.mean), (f"{name}_low", found.low), (f"{name}_high", found.high), (f"{name}_p", found.p))
    return {
        named(str(column), part): float(values[place]) for part, values in parts for place, column in enumerate(table)
    }


def with_differences(
    method: str, tables: Mapping[str, pd.DataFrame], references: Sequence[str], first: str | None = "less"
) -> dict[str, float]:
    """A method's means with intervals, and its paired differences to other methods on the same images.

    Args:
        tables: of each method, with the same columns and images.
        references: the methods to compare with, where they are among the tables: differences are named
            `less_<method>`.
        first: name of the differences to the first reference; None for a name like the others'.
    """
    found = with_intervals(tables[method])
    for place, reference in enumerate(references):
        if method != reference and reference in tables:
            name = first if first and not place else f"less_{reference}"
            found |= differences(tables[method], tables[reference], name)
    return found


def metrics_of(rows: pd.DataFrame) -> list[str]:
    """The columns that are metrics: numbers, and none of those that say which image a row is of, or how many boxes."""
    numbers = rows.select_dtypes("number")
    return [str(name) for name in numbers if name not in ("image", "label", "target", "boxes")]


def pool_metrics(rows: Mapping[str, pd.DataFrame], references: Sequence[str]) -> dict[str, dict[str, float]]:
    """Means of every metric with 95 % intervals, and paired differences, of all methods on the same images.

    Args:
        rows: of each method.
        references: the methods that all others are compared with; differences to each are named `less_<method>`.
    """
    tables = {method: frame.loc[~frame["broken"], metrics_of(frame)] for method, frame in rows.items()}
    return {method: with_differences(method, tables, references, first=None) for method in tables}
