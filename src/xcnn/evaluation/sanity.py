"""Sanity of a method: how much of its map is left when the network's weights are randomised."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xcnn.attribution import Method
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, image_rows, metrics_of
from xcnn.evaluation.subject import Subject
from xcnn.metrics.randomisation import cascade, ssim
from xcnn.metrics.ranking import at_size
from xcnn.metrics.similarity import rank_correlation, varied
from xcnn.report.cells import Cell, Measured

ORDERS = ("top_down", "bottom_up")
MEASURES = ("ssim", "rank_absolute", "rank_signed")


def measure_sanity(
    cell: Cell, subject: Subject, make: Callable[[nn.Module], Method], stages: int, seed: int, chunk: int
) -> Measured:
    """Rows of the likeness of maps before and after each stage of a cascade, for the class that the network predicts.

    `<measure>_left/<order>` is the mean over the stages. A map that is constant afterwards, as where no activation is
    left above zero, has no likeness to any (NaN); nothing is left of it, so that it counts as 0 in the mean, and
    `constant/<order>` is the share of such stages. An image whose own map is constant has neither.

    Args:
        make: the method of a network.
        stages, seed: as for `xcnn.metrics.randomisation.cascade`.
    """
    method = make(subject.network)
    others = [(f"{one.order}-{one.layers:02d}", make(one.network)) for one in cascade(subject.network, stages, seed)]

    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        inputs, size = subject.normalise(pictures), pictures.shape[2:]
        explanation = method.explain(inputs)
        before = at_size(explanation.maps, size)
        found: dict[str, Tensor] = {"target": explanation.targets}
        for name, other in others:
            after = at_size(other(inputs, explanation.targets), size)
            found[f"ssim/{name}"] = ssim(after.abs(), before.abs())
            found[f"rank_absolute/{name}"] = rank_correlation(after.abs(), before.abs())
            found[f"rank_signed/{name}"] = rank_correlation(after, before)
        there = varied(before)
        for order in ORDERS:
            cascades = {
                measure: torch.stack([found[name] for name in found if name.startswith(f"{measure}/{order}-")])
                for measure in MEASURES
            }
            for measure, likeness in cascades.items():
                found[f"{measure}_left/{order}"] = likeness.nan_to_num(0).mean(0).where(there, torch.nan)
            constant = cascades["rank_absolute"].isnan()
            found[f"constant/{order}"] = constant.double().mean(0).where(there, torch.nan)
        return found

    rows = image_rows(cell, subject, chunk, columns)
    rows = rows[~rows["broken"]]
    return subject.measured({name: float(rows[name].mean()) for name in metrics_of(rows)}, len(rows))
