"""How much a method's map changes with the class that it is to explain."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from xcnn.attribution import Method
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, image_rows, metrics_of
from xcnn.evaluation.subject import Subject
from xcnn.metrics.similarity import cosine, pcc, rank_correlation
from xcnn.report.cells import Cell, Measured


def measure_class_sensitivity(
    cell: Cell, subject: Subject, method: Method, places: Mapping[str, int], chunk: int
) -> Measured:
    """Rows of cosine, correlation and rank correlation between the map of the class predicted and those of others.

    Args:
        places: by name, the other classes' places among the logits from the highest (0), or from the lowest (-1).
    """

    def columns(batch: PictureBatch) -> Columns:
        inputs = subject.normalise(subject.scaled(batch))
        with subject.autocast():
            predicted, *others = method.explain_each(
                inputs, [None, *(partial(_at, place) for place in places.values())]
            )
        found: dict[str, Tensor] = {"target": predicted.targets}
        for name, other in zip(places, others, strict=True):
            for compare in (cosine, pcc, rank_correlation):
                found[f"{compare.__name__}/{name}"] = compare(predicted.maps, other.maps)
        return found

    rows = image_rows(cell, subject, chunk, columns)
    rows = rows[~rows["broken"]]
    return subject.measured({name: float(rows[name].mean()) for name in metrics_of(rows)}, len(rows))


def _at(place: int, logits: Tensor) -> Tensor:
    """The class at a place among each image's logits."""
    return logits.argsort(1, descending=True)[:, place]
